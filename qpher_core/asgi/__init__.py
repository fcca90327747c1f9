# SPDX-License-Identifier: Apache-2.0
"""The HTTP API as an ASGI application (docs/http.md). Needs the extra ``asgi``.

``create_app(kms)`` gives a Starlette application that can be served alone or mounted.
"""

from qpher_core.asgi.app import create_app
from qpher_core.asgi.settings import Settings

__all__ = ["Settings", "create_app"]
