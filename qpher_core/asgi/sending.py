# SPDX-License-Identifier: Apache-2.0
"""Sending answers: whole ones, and streams for as long as somebody reads them."""

import asyncio
from typing import Any

from qpher_core.asgi.endpoint import Raw
from qpher_core.asgi.envelope import Rendered
from qpher_core.asgi.headers import Head, secured
from qpher_core.asgi.workers import Workers

__all__ = ["send_answer"]


async def send_answer(
    scope: Any, receive: Any, send: Any, answer: Rendered | Raw, head: Head, workers: Workers
) -> int:
    """Send an answer and return its status."""
    headers = secured(scope.get("scheme", "http"))
    headers.append((b"x-request-id", str(head.request_id).encode()))
    if isinstance(answer, Raw):
        headers.append((b"content-type", answer.media_type.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        else:
            await _stream(receive, send, answer, workers)
        return 200
    headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", str(len(answer.body)).encode()))
    headers += answer.headers
    if answer.status in {413, 415, 504}:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
    return answer.status


async def _stream(receive: Any, send: Any, answer: Raw, workers: Workers) -> None:
    """Send the pieces of a stream. One that fails is cut, so that nobody takes it for whole."""
    departed = asyncio.ensure_future(_departure(receive))
    piece: bytes | None = answer.first
    try:
        while piece is not None:
            if departed.done():
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await workers.go_on(next, answer.pieces, None)
    finally:
        departed.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _departure(receive: Any) -> None:
    """Wait until the client goes away: servers drop in silence what is sent to nobody."""
    message = await receive()
    if message["type"] != "http.disconnect":
        await asyncio.get_running_loop().create_future()
