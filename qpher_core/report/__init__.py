# SPDX-License-Identifier: Apache-2.0
"""The compliance report: what keys there are, and how they stand to profiles and schedules.

``collect`` gathers the facts, which ``as_document`` gives as JSON, ``html_page`` as a page and
``cbom`` as a CycloneDX cryptography bill of materials.
"""

from qpher_core.report.cbom import cbom
from qpher_core.report.document import as_document
from qpher_core.report.facts import Facts, collect, collect_session
from qpher_core.report.page import html_page

__all__ = ["Facts", "as_document", "cbom", "collect", "collect_session", "html_page"]
