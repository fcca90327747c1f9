# SPDX-License-Identifier: Apache-2.0
"""uvicorn's HTTP connection, with bounds on what may come before a request's sender is known.

uvicorn reads heads of any size for any time, adds a trailer's fields to those of the head, loses
the body of a request that asks for another protocol, and gives up a request whose sender closes
its half of the connection. Here a head has its size and its seconds, and a request is what its
sender sent, or is refused.
"""

import asyncio
import enum
import uuid
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from qpher_core.asgi.envelope import error_answer
from qpher_core.asgi.headers import secured
from qpher_core.errors import ValidationError
from qpher_core.request_ids import new_request_id

__all__ = ["Connection"]

_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})
_FRAMING: Final = 8  # bytes that a chunk of one byte may cost: "1", two line ends, an extension


class _Awaited(enum.Enum):
    """What of a request comes next."""

    ANOTHER = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()


_ANOTHER, _HEAD, _BODY = _Awaited  # looked up many times for a request


class Connection(HttpToolsProtocol):
    """One connection.

    Attributes:
        largest_head: bytes of a request beside its body, more or less: pieces of the network are
            counted, and the one that a request begins in is not.
        seconds: how long a head is waited for, and the rest of a request that is answered.
    """

    largest_head: ClassVar[int] = 1 << 16
    seconds: ClassVar[float] = 15.0

    _awaited = _ANOTHER
    _requests = 0
    _beside = 0  # bytes of the request that were not its body
    _body = 0
    _patience: asyncio.TimerHandle | None = None
    _refusal: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what has been asked; the sender, who sends no more, may still read."""
        whole = self._awaited is _ANOTHER
        if not whole or not self._answers() or self.scheme == "https":
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Read a piece of what is sent."""
        requests, body = self._requests, self._body
        super().data_received(data)
        if self.transport.is_closing():
            return
        if requests == self._requests:
            self._beside += len(data) - (self._body - body)
            if self._beside > self.largest_head + _FRAMING * self._body:
                self.send_400_response(f"a head has at most {self.largest_head} bytes")
                return
        self._watch()

    # --- what the parser finds -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._awaited, self._beside, self._body = _HEAD, 0, 0
        self._requests += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer a request, unless the parser takes its body for another protocol."""
        upgrades = self.parser.should_upgrade()
        if upgrades and any(name in _BODY_HEADERS for name, _ in self.headers):
            self._refusal = "a request with a body cannot ask for another protocol"
            raise ValueError(self._refusal)
        self._awaited = _BODY
        super().on_headers_complete()
        if not upgrades:
            self.headers = []  # of a trailer, whose fields are none of the head (RFC 9110, 6.5.1)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._awaited = _ANOTHER
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer in HTTP/1.1, once: the parser reads nothing more."""
        self.cycle.keep_alive = False

    # --- answers -------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, after the answers to those before it."""
        if self._answers() and self._awaited is not _BODY:
            self.cycle.keep_alive = False
            return
        if not self._answers() or not self.cycle.response_started:
            self.transport.write(_refused(self._refusal or msg, self.scheme or "http"))
        self.transport.close()

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # --- patience ------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Be patient only as long as something is missing that must come soon."""
        answered = self._awaited is _BODY and not self._answers()
        if self._awaited is not _HEAD and not answered:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.seconds, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        if self._answers():
            self._wait()  # nothing is read while requests before this one are answered
        else:
            self.transport.close()


def _refused(message: str, scheme: str) -> bytes:
    """Return the answer to what is no request."""
    request_id = str(uuid.UUID(new_request_id()))
    answer = error_answer(ValidationError(message, code="ERR_INVALID_001"), request_id)
    fields = [
        *secured(scheme),
        (b"x-request-id", request_id.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
        (b"connection", b"close"),
    ]
    head = b"".join(b"%s: %s\r\n" % field for field in fields)
    return STATUS_LINE[answer.status] + head + b"\r\n" + answer.body
