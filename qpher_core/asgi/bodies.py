# SPDX-License-Identifier: Apache-2.0
"""Reading a request's body, within a number of bytes and of seconds.

Most bodies are there when they are asked for. A timer costs more than all else that is done to
read those, so that one is set only for a body that has to be waited for.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from attrs import frozen

from qpher_core.errors import QpherError, ValidationError

__all__ = ["Bodies", "Disconnected"]


class Disconnected(Exception):  # noqa: N818 - a signal, not an error
    """The client went away."""


@frozen
class Bodies:
    """Reads the bodies of an endpoint.

    Attributes:
        largest: how many bytes one may have.
        seconds: how long one is waited for, its first piece too: a client may announce a body and
            send nothing of it.
    """

    largest: int
    seconds: float

    async def read(self, receive: Any, most: int, least: int = 0) -> bytes:
        """Return the whole body, if it has at most ``most`` bytes.

        Args:
            receive: gives its pieces.
            most: how many bytes it may have.
            least: how many were announced. Servers lose bodies of requests that ask for another
                protocol, and what may be left out must not be taken for left out then.

        Raises:
            Disconnected: the client went away.
            ValidationError: it is too large, or has less than was announced.
            QpherError: ``ERR_TIMEOUT_001``, it did not arrive in time.
        """
        reading = self._pieces(receive, most, least)
        try:
            waits_for = reading.send(None)
        except StopIteration as end:
            body: bytes = end.value
            return body
        try:
            async with asyncio.timeout(self.seconds):
                return await _go_on(reading, waits_for)
        except TimeoutError:
            raise QpherError("the body did not arrive in time", code="ERR_TIMEOUT_001") from None

    def too_large(self) -> ValidationError:
        """Return the error of a body that is too large."""
        return ValidationError(
            f"the body must have at most {self.largest} bytes", code="ERR_INVALID_004"
        )

    async def _pieces(self, receive: Any, most: int, least: int) -> bytes:
        pieces, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > most:
                raise self.too_large()
            more = message.get("more_body", False)
        if size < least:
            raise ValidationError(
                f"the body must have the {least} bytes that were announced", code="ERR_INVALID_001"
            )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@types.coroutine
def _go_on(begun: Coroutine[Any, Any, bytes], waits_for: Any) -> Generator[Any, Any, bytes]:
    """Go on with a coroutine that was begun, from what it waits for."""
    step: Callable[[Any], Any]
    while True:
        try:
            argument = yield waits_for
            step = begun.send
        except BaseException as error:  # noqa: BLE001 - such as that it was cancelled
            argument, step = error, begun.throw
        try:
            waits_for = step(argument)
        except StopIteration as end:
            body: bytes = end.value
            return body
