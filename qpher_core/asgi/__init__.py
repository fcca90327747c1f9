# SPDX-License-Identifier: Apache-2.0
"""The HTTP API as an ASGI application (docs/http.md). Needs the extra ``asgi``.

``create_app(kms)`` gives a Starlette application that can be served alone or mounted.
"""

from typing import TYPE_CHECKING, Any

from qpher_core.asgi.settings import Settings

if TYPE_CHECKING:
    from qpher_core.asgi.app import create_app

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    """Load the application when it is asked for: clients share its models, not its framework."""
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from qpher_core.asgi.app import create_app  # noqa: PLC0415

    return create_app
