# SPDX-License-Identifier: Apache-2.0
"""One call of an endpoint: sent, repeated where that is safe, its answer checked.

A call that changes nothing is repeated as it is. One that changes something carries an
``Idempotency-Key``, the same in every repeat, so that the service makes it once whatever became of
the answers. If none arrives, the caller is told that the outcome is not known.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from attrs import field, frozen

from qpher_backends.remote.credential import Credential
from qpher_backends.remote.failures import TOO_LARGE, error_of
from qpher_backends.remote.transport import Exchanged, ExchangeFailed, Refused, Transport
from qpher_core.asgi.endpoint import Endpoint
from qpher_core.asgi.envelope import ErrorEnvelope
from qpher_core.asgi.models_audit import AnchorKeys
from qpher_core.asgi.table import BASE, ENDPOINTS
from qpher_core.errors import (
    AlgorithmUnavailable,
    AuthenticationError,
    OutcomeUnknown,
    QpherError,
    RateLimited,
    Unavailable,
    ValidationError,
)
from qpher_core.idempotency import UNDER_WAY
from qpher_core.remote import RemoteSettings

__all__ = ["BadAnswer", "Link", "endpoint_of", "expect"]

T = TypeVar("T")

_LONGEST_ANSWER: Final = 8 << 20
_LONGEST_BATCH: Final = 128 << 20
_FIRST_PAUSE: Final = 0.1  # seconds; doubles with each repeat
_LONGEST_PAUSE: Final = 5.0
_AGAIN: Final = frozenset({429, 502, 503, 504})
_QUOTA: Final = "ERR_QUOTA_001"  # waiting does not help
_NOT_SAID: Final = frozenset({"ERR_INTERNAL_001", "ERR_TIMEOUT_001"})  # whether it was done
#: What is decided before the service looks whether it was asked before: it tells nothing of an
#: attempt whose answer was lost.
_BEFORE_THE_CALL: Final = (AuthenticationError, RateLimited, Unavailable)

_encode: Final = msgspec.json.Encoder().encode
_decode_error: Final = msgspec.json.Decoder(ErrorEnvelope).decode
_random: Final = secrets.SystemRandom()
#: The one endpoint that needs no API key; whoever serves it is not asked here.
_ANCHOR_KEYS: Final = Endpoint(
    method="GET",
    path="/anchors/key",
    handler=lambda _: None,
    summary="",
    tag="",
    answer=AnchorKeys,
    operations=(),
)
_endpoints: Final[Mapping[tuple[str, str], Endpoint]] = {
    (endpoint.method, endpoint.path): endpoint for endpoint in (*ENDPOINTS, _ANCHOR_KEYS)
}


def endpoint_of(method: str, path: str) -> Endpoint:
    """Return the row that client and server share."""
    return _endpoints[method, path]


class BadAnswer(Exception):  # noqa: N818 - a signal, not an error for callers
    """The answer is not one of this API."""


def expect(condition: object, what: str) -> None:
    """Raise ``BadAnswer`` if an answer is not as it must be."""
    if not condition:
        raise BadAnswer(what)


class _Envelope(msgspec.Struct, Generic[T]):
    data: T
    request_id: str
    timestamp: str


@frozen
class _Failed:
    """One attempt without a good answer.

    Attributes:
        error: for the caller, if it was the last attempt.
        done: whether the call may have been made all the same.
        again: whether another attempt may do better.
        pause: seconds that the service wants the caller to wait.
    """

    error: QpherError
    done: bool = False
    again: bool = False
    pause: float = 0.0


@frozen
class _Asked:
    """One call, as every attempt sends it."""

    endpoint: Endpoint
    target: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)
    request_id: str
    ends: float


class Link:
    """Calls the endpoints of one service with one API key. Thread-safe.

    Raises:
        ValidationError: the URL, the API key or a setting is not one.
    """

    def __init__(self, url: str, api_key: object, settings: RemoteSettings) -> None:
        self._credential = Credential(api_key)
        self._settings = settings
        self._transport = Transport(url, settings)
        self._decoders: dict[type, Callable[[bytes], _Envelope[Any]]] = {}

    def __repr__(self) -> str:
        return f"<Link to {self._transport.base} with {self._credential!r}>"

    @property
    def actor(self) -> str:
        """How the service's audit log calls whoever holds the API key."""
        return self._credential.actor

    def call(
        self,
        method: str,
        path: str,
        read: Callable[[Any, uuid.UUID], T],
        *,
        values: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> T:
        """Call an endpoint and return what ``read`` makes of its answer.

        Args:
            method: of HTTP.
            path: as the table of endpoints has it.
            read: gets the answer's data and the request's id; raises ``BadAnswer``.
            values: path and query parameters; None is left out.
            body: members of the request's model.

        Raises:
            QpherError: as the service raised it.
            Unavailable: there is no answer; nothing lasting was done.
            OutcomeUnknown: there is no answer, and the call may have been made.
        """
        endpoint = endpoint_of(method, path)
        asked = self._asked(endpoint, values or {}, body)
        maybe_done = False
        attempt = 1
        while True:
            result = self._attempt(asked, read)
            if not isinstance(result, _Failed):
                return result
            maybe_done = endpoint.changes and (maybe_done or result.done)
            pause = _pause(attempt, result.pause)
            left = asked.ends - time.monotonic()
            if not result.again or attempt >= self._settings.attempts or pause >= left:
                break
            time.sleep(pause)
            attempt += 1
        if maybe_done and (result.done or isinstance(result.error, _BEFORE_THE_CALL)):
            raise _unknown(asked, result.error)
        raise result.error

    def stream(self, path: str, values: Mapping[str, object]) -> Iterator[bytes]:
        """Yield the pieces of an answer that is a stream. It is asked for once.

        Raises:
            QpherError: as the service raised it.
            Unavailable: there is no answer, or it was cut: discard the pieces.
        """
        asked = self._asked(endpoint_of("GET", path), values, None)
        headers = [*asked.headers, self._credential.header()]
        try:
            yield from self._transport.stream(
                "GET", asked.target, headers, patience=self._settings.deadline
            )
        except ExchangeFailed as failed:
            error: QpherError = _unreachable(failed)
        except Refused as refused:
            error = _explained(refused.answer)
        else:
            return
        raise error

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._transport.close()

    # --- one attempt ---------------------------------------------------------------------------

    def _asked(
        self, endpoint: Endpoint, values: Mapping[str, object], body: Mapping[str, object] | None
    ) -> _Asked:
        request_id = str(uuid.uuid4())
        given = {name: str(value) for name, value in values.items() if value is not None}
        inside = {n: quote(v, safe="") for n, v in given.items() if f"{{{n}}}" in endpoint.path}
        query = urlencode({name: v for name, v in given.items() if name not in inside})
        target = BASE + endpoint.path.format(**inside) + (f"?{query}" if query else "")
        headers = [
            (b"accept", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"x-request-id", request_id.encode()),
        ]
        if body is not None:
            headers.append((b"content-type", b"application/json"))
        if endpoint.changes:
            headers.append((b"idempotency-key", str(uuid.uuid4()).encode()))
        content = b"" if body is None else _encode(body)
        ends = time.monotonic() + self._settings.deadline
        return _Asked(endpoint, target, headers, content, request_id, ends)

    def _attempt(self, asked: _Asked, read: Callable[[Any, uuid.UUID], T]) -> T | _Failed:
        try:
            answer = self._transport.exchange(
                asked.endpoint.method,
                asked.target,
                [*asked.headers, self._credential.header()],
                asked.body,
                ends=asked.ends,
                longest=_LONGEST_BATCH if asked.endpoint.items > 1 else _LONGEST_ANSWER,
            )
        except ExchangeFailed as failed:
            return _Failed(_unreachable(failed), done=failed.sent, again=True)
        try:
            if answer.status == asked.endpoint.status:
                envelope = self._decoded(asked, answer)
                return read(envelope.data, uuid.UUID(envelope.request_id))
            return _refused(answer)
        except BadAnswer as bad:
            return _Failed(_incomprehensible(bad), done=True)

    def _decoded(self, asked: _Asked, answer: Exchanged) -> _Envelope[Any]:
        media_type = answer.headers.get(b"content-type", b"").partition(b";")[0].strip()
        expect(media_type == b"application/json", "it is not JSON")
        expect(b"content-encoding" not in answer.headers, "it is encoded")
        model = asked.endpoint.answer
        if model is None:
            raise TypeError(f"{asked.endpoint.path} answers with a stream")
        decode = self._decoders.get(model)
        if decode is None:
            decode = msgspec.json.Decoder(_Envelope[model]).decode  # type: ignore[valid-type]
            self._decoders[model] = decode
        try:
            envelope = decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Its text names the member, and never holds a value of it.
            raise BadAnswer(str(error) or type(error).__name__) from None
        expect(envelope.request_id == asked.request_id, "it belongs to another request")
        return envelope


def _unreachable(failed: ExchangeFailed) -> Unavailable:
    return Unavailable(f"the service cannot be reached or does not answer ({failed})")


def _incomprehensible(bad: BadAnswer) -> Unavailable:
    return Unavailable(f"the service's answer is not one of this API: {bad}")


def _too_large() -> ValidationError:
    return ValidationError("a proxy of the service takes no request so large", code=TOO_LARGE)


def _explained(answer: Exchanged) -> QpherError:
    """Return why an answer is no stream."""
    try:
        return _refused(answer).error
    except BadAnswer as bad:
        return _incomprehensible(bad)


def _refused(answer: Exchanged) -> _Failed:
    """Return why an answer is none of success."""
    status, pause = answer.status, _retry_after(answer)
    if not 400 <= status < 600:
        raise BadAnswer(f"its status is {status}")
    again = status in _AGAIN
    try:
        body = _decode_error(answer.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A proxy's, or a broken one: what became of the request is not said.
        if status == 413:
            return _Failed(_too_large())
        error = Unavailable(f"the service answered with status {status}, without a reason")
        return _Failed(error, done=status >= 500, again=again, pause=pause)
    known = error_of(body, status)
    if known.code == UNDER_WAY:
        return _Failed(known, done=True, again=True)  # the attempt before is not finished
    if isinstance(known, AlgorithmUnavailable) or known.code == _QUOTA:
        again = False
    return _Failed(known, done=known.code in _NOT_SAID, again=again, pause=pause)


def _pause(attempt: int, wanted: float) -> float:
    """Return how long to wait before the next attempt: what the service wants, and some jitter."""
    most = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
    return wanted + _random.uniform(most / 2, most)


def _retry_after(answer: Exchanged) -> float:
    value = answer.headers.get(b"retry-after", b"")
    return float(value) if value.isdigit() and len(value) < 6 else 0.0


def _unknown(asked: _Asked, error: QpherError) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"nobody here knows whether it was done; the audit log tells what became of request "
        f"{asked.request_id}: {error}"
    )
