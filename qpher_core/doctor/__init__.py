# SPDX-License-Identifier: Apache-2.0
"""Examining an installation: what was found, and what to do about it."""

from qpher_core.doctor.finding import Finding, Standing
from qpher_core.doctor.machine import examine_machine
from qpher_core.doctor.service import examine_service
from qpher_core.doctor.store import Examination, examine_store

__all__ = [
    "Examination",
    "Finding",
    "Standing",
    "examine_machine",
    "examine_service",
    "examine_store",
]
