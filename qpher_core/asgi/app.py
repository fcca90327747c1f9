# SPDX-License-Identifier: Apache-2.0
"""The application: the table of endpoints behind the gateway, and what needs no API key."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from qpher_core.asgi.envelope import error_answer
from qpher_core.asgi.gateway import Gateway, Parts, log_unexpected
from qpher_core.asgi.headers import Proxies, read_head, secured
from qpher_core.asgi.limits import RateLimits
from qpher_core.asgi.metrics import Metrics
from qpher_core.asgi.public import public_routes
from qpher_core.asgi.settings import Settings
from qpher_core.asgi.table import BASE, ENDPOINTS
from qpher_core.asgi.workers import Workers
from qpher_core.errors import NotFound, QpherError
from qpher_core.service import Qpher

__all__ = ["create_app"]


def create_app(kms: Qpher, settings: Settings | None = None, *, closes: bool = False) -> Starlette:
    """Return the HTTP API of a service, to be served alone or mounted in another application.

    It ends with what it has begun.

    Args:
        kms: an open service.
        settings: what the operator sets; strict defaults where none are given.
        closes: close the service when the application ends.

    Raises:
        ValidationError: a setting is not one.
    """
    chosen = settings or Settings()
    parts = Parts(
        kms,
        chosen,
        Workers(chosen),
        RateLimits(chosen),
        Proxies(chosen.trusted_proxies),
        Metrics(),
    )
    methods: dict[str, dict[str, Gateway]] = {}
    for endpoint in ENDPOINTS:
        methods.setdefault(endpoint.path, {})[endpoint.method] = Gateway(endpoint, parts)
    routes = [
        Route(BASE + _typed(path), _ByMethod(gateways), methods=list(gateways))
        for path, gateways in methods.items()
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(parts.workers.close)
        if closes:
            await asyncio.to_thread(kms.close)

    app = _App(
        {
            (method, BASE + path): gateway
            for path, gateways in methods.items()
            for method, gateway in gateways.items()
            if "{" not in path
        },
        routes=[*routes, *public_routes(parts)],
        middleware=_cors(chosen),
        exception_handlers={HTTPException: _no_route, Exception: _unexpected},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _App(Starlette):
    """An application that goes straight to an endpoint whose whole path is known.

    A gateway answers whatever happens, so that Starlette's layers add nothing; where somebody adds
    layers of their own, or mounts the application, requests go through all of them.
    """

    def __init__(self, direct: Mapping[tuple[str, str], Gateway], **options: Any) -> None:
        super().__init__(**options)
        self._direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not _is_plain(scope):
            answer = await _no_route(Request(scope), HTTPException(404))
            await answer(scope, receive, send)
            return
        if scope["type"] == "http" and not self.user_middleware and not scope.get("root_path"):
            gateway = self._direct.get((scope["method"], scope["path"]))
            if gateway is not None:
                await gateway(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def _is_plain(scope: Scope) -> bool:
    """Return whether a path is one for everybody.

    A slash that is encoded is none to a proxy that guards some paths, and a line end at the end of
    a path is nothing to a regular expression.
    """
    path: str = scope["path"]
    return path.isprintable() and b"%2f" not in (scope.get("raw_path") or b"").lower()


class _ByMethod:
    """The endpoints of one path."""

    def __init__(self, gateways: Mapping[str, Gateway]) -> None:
        self.gateways = gateways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self.gateways[method](scope, receive, send)


class _Digits(Convertor[str]):
    """Matches numbers and leaves them text: ``int`` fails for those of thousands of digits."""

    regex = "[0-9]+"

    def convert(self, value: str) -> str:
        return value.lstrip("0") or "0"

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("qpher_digits", _Digits())


def _typed(path: str) -> str:
    """Return a path that matches numbers alone where it has one: other paths lie beside them."""
    return path.replace("{key_version}", "{key_version:qpher_digits}")


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PATCH", "PUT"],
            allow_headers=["x-api-key", "content-type", "x-request-id", "idempotency-key"],
            expose_headers=[
                "x-request-id",
                "retry-after",
                "ratelimit",
                "ratelimit-policy",
                "idempotency-replayed",
            ],
        )
    ]


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer what no route matches."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        refusal = QpherError("the method is not one of this path", code="ERR_METHOD_001")
    else:
        refusal = NotFound("no such path")
    headers = error.headers if isinstance(error, HTTPException) else None
    return _response(request, refusal, read_head(request.scope).request_id, headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    request_id = read_head(request.scope).request_id
    log_unexpected(error, str(request_id))
    return _response(request, error, request_id, None)


def _response(
    request: Request, error: Exception, request_id: uuid.UUID, more: Mapping[str, str] | None
) -> Response:
    answer = error_answer(error, str(request_id))
    headers: dict[str, Any] = {
        name.decode(): value.decode() for name, value in secured(request.url.scheme)
    }
    headers["x-request-id"] = str(request_id)
    return Response(
        answer.body,
        answer.status,
        {**headers, **(more or {})},
        media_type="application/json",
    )
