# SPDX-License-Identifier: Apache-2.0
"""Reading bodies that are there, that arrive in pieces, and that do not arrive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qpher_core.asgi.bodies import Bodies, Disconnected
from qpher_core.errors import QpherError, ValidationError

Receive = Callable[[], Awaitable[dict[str, Any]]]


def _pieces(*pieces: bytes, every: float | None = None) -> Receive:
    """Return what gives pieces: at once, or one after each pause; then there is no client."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if every is not None:
            await asyncio.sleep(every)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


def _read(receive: Receive, *, most: int = 10, seconds: float = 30) -> bytes:
    return asyncio.run(Bodies(10, seconds).read(receive, most))


@pytest.mark.parametrize("pieces", [(b"body",), (b"bo", b"", b"dy"), (b"",)])
def test_a_body_that_is_there_needs_no_event_loop(pieces: tuple[bytes, ...]) -> None:
    """It is read without a timer, so that there need be no event loop to set one."""
    with pytest.raises(StopIteration) as end:
        Bodies(10, 30).read(_pieces(*pieces), 10).send(None)
    assert end.value.value == b"".join(pieces)


@pytest.mark.parametrize("every", [0, 0.001])
def test_a_body_may_arrive_in_pieces(every: float) -> None:
    """A body that is waited for again and again is whole."""
    assert _read(_pieces(b"b", b"o", b"d", b"y", every=every)) == b"body"


@pytest.mark.parametrize("every", [None, 0])
def test_the_client_may_go_away(every: float | None) -> None:
    """Whoever goes away, at once or later, is not answered."""
    with pytest.raises(Disconnected):
        _read(_pieces(every=every))


@pytest.mark.parametrize("every", [None, 0])
def test_a_body_that_is_too_large_is_not_read_to_its_end(every: float | None) -> None:
    """Beyond as many bytes as may come now, no piece is taken, and the error names the limit."""
    receive = _pieces(b"12345", b"6789", b"rest", every=every)
    with pytest.raises(ValidationError, match="at most 10 bytes") as refused:
        _read(receive, most=8)
    assert refused.value.code == "ERR_INVALID_004"
    assert asyncio.run(_once(receive))["body"] == b"rest"


def test_a_body_that_was_lost_is_none() -> None:
    """One that has less than was announced is refused, not taken for one that was left out."""
    with pytest.raises(ValidationError, match="announced") as refused:
        asyncio.run(Bodies(10, 30).read(_pieces(b""), 10, 4))
    assert refused.value.code == "ERR_INVALID_001"


async def _once(receive: Receive) -> dict[str, Any]:
    return await receive()


@pytest.mark.parametrize("every", [60, 0.01], ids=["silent", "drips"])
def test_a_body_that_takes_too_long_is_given_up(every: float) -> None:
    """All of it counts: pieces that come in time by themselves do not prolong it."""
    with pytest.raises(QpherError, match="in time") as late:
        _read(_pieces(*[b"x"] * 1000, every=every), most=1000, seconds=0.05)
    assert late.value.code == "ERR_TIMEOUT_001"


def test_whoever_is_cancelled_while_waiting_is_cancelled() -> None:
    """A server that cancels a request ends the waiting in it, which learns of it."""
    seen = []

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return {}

    async def run() -> None:
        task = asyncio.create_task(Bodies(10, 30).read(receive, 10))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert seen == ["cancelled"]
