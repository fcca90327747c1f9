# SPDX-License-Identifier: Apache-2.0
"""What needs no API key: health, metrics, the OpenAPI document, the docs page, anchor keys."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qpher_core.asgi.docs_page import CONTENT_SECURITY_POLICY, PAGE, SCRIPT
from qpher_core.asgi.envelope import error_answer, success_answer
from qpher_core.asgi.gateway import Parts, log_unexpected
from qpher_core.asgi.headers import read_head, secured
from qpher_core.asgi.health import Readiness
from qpher_core.asgi.metrics import CONTENT_TYPE
from qpher_core.asgi.models_audit import AnchorKeys
from qpher_core.asgi.openapi import document_bytes
from qpher_core.asgi.table import BASE
from qpher_core.errors import QpherError

__all__ = ["public_routes"]

_ANCHORS_KEPT: Final = 5.0  # seconds; the answer is public and changes hardly ever


def public_routes(parts: Parts) -> list[Route]:
    """Return the routes that need no API key."""
    readiness = Readiness(parts)
    routes = [
        Route("/health/live", _answering(_live), methods=["GET"]),
        Route("/health", _answering(_live), methods=["GET"]),
        Route("/health/ready", _answering(readiness.answer), methods=["GET"]),
        Route("/metrics", _answering(_metrics(parts)), methods=["GET"]),
        Route(f"{BASE}/anchors/key", _answering(_anchor_keys(parts)), methods=["GET"]),
    ]
    if parts.settings.docs:
        routes += [
            Route("/openapi.json", _answering(_openapi), methods=["GET"]),
            Route("/docs", _answering(_docs), methods=["GET"]),
            Route("/docs/page.js", _answering(_script), methods=["GET"]),
        ]
    return routes


def _answering(make: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Return an endpoint that adds the headers that every answer has."""

    async def endpoint(request: Request) -> Response:
        response: Response = await make(request)
        for name, value in secured(request.url.scheme):
            response.headers.setdefault(name.decode(), value.decode())
        response.headers.setdefault("x-request-id", str(read_head(request.scope).request_id))
        return response

    return endpoint


async def _live(_: Request) -> Response:
    return Response(b'{"status":"alive"}', media_type="application/json")


def _metrics(parts: Parts) -> Callable[[Request], Any]:
    async def endpoint(_: Request) -> Response:
        parts.metrics.in_flight.set(parts.workers.busy)
        body = await asyncio.to_thread(parts.metrics.render)
        return Response(body, headers={"content-type": CONTENT_TYPE})

    return endpoint


def _anchor_keys(parts: Parts) -> Callable[[Request], Any]:
    kept: list[tuple[float, AnchorKeys]] = []

    def read() -> AnchorKeys:
        if kept and time.monotonic() - kept[-1][0] < _ANCHORS_KEPT:
            return kept[-1][1]
        found = AnchorKeys(parts.kms.anchors.key(), list(parts.kms.anchors.keys()))
        kept[:] = [(time.monotonic(), found)]
        return found

    async def endpoint(request: Request) -> Response:
        request_id = str(read_head(request.scope).request_id)
        try:
            answer = success_answer(await parts.workers.run(read), request_id)
        except QpherError as error:
            answer = error_answer(error, request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets an answer
            log_unexpected(error, request_id)
            answer = error_answer(error, request_id)
        headers = {"x-request-id": request_id}  # the same as in the body
        return Response(answer.body, answer.status, headers, media_type="application/json")

    return endpoint


async def _openapi(request: Request) -> Response:
    document = document_bytes(request.scope.get("root_path", ""))
    return Response(document, media_type="application/json")


async def _docs(_: Request) -> Response:
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
    return Response(PAGE, media_type="text/html", headers=headers)


async def _script(_: Request) -> Response:
    return Response(SCRIPT, media_type="text/javascript")
