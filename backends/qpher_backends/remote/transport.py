# SPDX-License-Identifier: Apache-2.0
"""One exchange over HTTP/1.1: pooled connections, verified TLS, one deadline for all of it.

The HTTP library's own timeouts begin anew with every read, so that a server which sends a byte
now and then keeps a caller for ever. Here every wait on the socket gets what is left of the
exchange's time.
"""

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
from attrs import field, frozen

from qpher_core.errors import ValidationError
from qpher_core.remote import RemoteSettings, is_loopback

__all__ = ["ExchangeFailed", "Exchanged", "Refused", "Transport"]

_PIECE: Final = 1 << 14  # bytes that are written before the time is looked at
_LONGEST_REFUSAL: Final = 1 << 20  # bytes
_KEEPALIVE: Final = 60.0  # seconds that an unused connection is kept

#: Failures before anything of the request was sent.
_NOT_SENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)


@frozen
class Exchanged:
    """An answer. Header names are in lower case."""

    status: int
    headers: Mapping[bytes, bytes] = field(repr=False)
    body: bytes = field(repr=False)


class ExchangeFailed(Exception):  # noqa: N818 - a signal, not an error for callers
    """There is no whole answer.

    Attributes:
        sent: whether the service may have got the request.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Refused(Exception):  # noqa: N818 - a signal, not an error for callers
    """What was to be a stream is another answer."""

    def __init__(self, answer: Exchanged) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Transport:
    """Exchanges with one host. Thread-safe.

    Args:
        url: ``https://host[:port][/prefix]``; ``http`` for loopback, or where it is asked for.
        settings: TLS, connections.

    Raises:
        ValidationError: the URL or the CA file is not one.
    """

    def __init__(self, url: str, settings: RemoteSettings) -> None:
        parts = _checked(url, plain_http=settings.plain_http)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._exchange = threading.local()
        self._tls = _tls(settings.ca) if parts.scheme == "https" else None
        self._connections = settings.connections
        self._pools: dict[int, httpcore.ConnectionPool] = {}

    @property
    def base(self) -> str:
        """The URL, without a slash at its end."""
        return self._base

    def exchange(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        ends: float,
        longest: int,
    ) -> Exchanged:
        """Send a request and return the whole answer.

        Args:
            method: of HTTP.
            target: path and query, below the URL.
            headers: of the request.
            body: of the request.
            ends: when to give up, by ``time.monotonic()``.
            longest: bytes that an answer may have.

        Raises:
            ExchangeFailed: there is no whole answer.
        """
        self._exchange.ends = ends
        try:
            return self._whole(method, target, headers, body, ends - time.monotonic(), longest)
        except ExchangeFailed as failed:
            failure = failed
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            failure = ExchangeFailed(type(error).__name__, sent=not isinstance(error, _NOT_SENT))
        # Raised outside of the handlers: the library's frames hold the headers, so the API key.
        raise failure.with_traceback(None)

    def stream(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], *, patience: float
    ) -> Iterator[bytes]:
        """Send a request without a body and yield the pieces of its answer as they come.

        Args:
            method: of HTTP.
            target: path and query, below the URL.
            headers: of the request.
            patience: seconds that the next piece may take.

        Raises:
            Refused: the status is not 200.
            ExchangeFailed: there is no answer, or it was cut.
        """
        failure: ExchangeFailed | Refused
        try:
            yield from self._pieces(method, target, headers, patience)
        except (ExchangeFailed, Refused) as failed:
            failure = failed
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            failure = ExchangeFailed(type(error).__name__, sent=not isinstance(error, _NOT_SENT))
        else:
            return
        raise failure.with_traceback(None)  # as in exchange

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._pool().close()

    def _pool(self) -> httpcore.ConnectionPool:
        """Return the connections of this process: after a fork, the others are its parent's."""
        process = os.getpid()
        return self._pools.get(process) or self._pools.setdefault(process, self._new_pool())

    def _new_pool(self) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self._tls,
            max_connections=self._connections,
            keepalive_expiry=_KEEPALIVE,
            network_backend=_Backend(self._left),
        )

    def _pieces(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], patience: float
    ) -> Iterator[bytes]:
        self._exchange.ends = time.monotonic() + patience
        timeout = dict.fromkeys(("pool", "connect", "read", "write"), patience)
        url, extensions = self._base + target, {"timeout": timeout}
        with self._pool().stream(method, url, headers=headers, extensions=extensions) as response:
            if response.status != 200:
                content = _gathered(response, _LONGEST_REFUSAL)
                raise Refused(Exchanged(response.status, _lower(response), content))
            for part in response.iter_stream():
                yield part
                self._exchange.ends = time.monotonic() + patience  # the reader took its time

    def _whole(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        left: float,
        longest: int,
    ) -> Exchanged:
        timeout = dict.fromkeys(("pool", "connect", "read", "write"), max(left, 0.001))
        with self._pool().stream(
            method,
            self._base + target,
            headers=headers,
            content=body,
            extensions={"timeout": timeout},
        ) as response:
            content = _gathered(response, longest)
        return Exchanged(response.status, _lower(response), content)

    def _left(self) -> float:
        """Return the seconds that are left of this thread's exchange."""
        left: float = self._exchange.ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


def _gathered(response: httpcore.Response, longest: int) -> bytes:
    content = bytearray()
    for part in response.iter_stream():
        content += part
        if len(content) > longest:
            raise ExchangeFailed("the answer is too long", sent=True)
    return bytes(content)


def _lower(response: httpcore.Response) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in response.headers}


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends with the exchange."""

    def __init__(self, stream: httpcore.NetworkStream, left: Callable[[], float]) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._left())
        return _Stream(secured, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects within the exchange's time."""

    def __init__(self, left: Callable[[], float]) -> None:
        self._sockets = httpcore.SyncBackend()
        self._left = left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(host, port, self._left(), local_address, socket_options)
        return _Stream(stream, self._left)


def _checked(url: str, *, plain_http: bool) -> Any:
    """Return the parts of a URL that may be connected to."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        parts, port, host = urlsplit(""), None, ""
    more = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not host or more or port == 0:
        raise ValidationError(
            "url must be https://host[:port][/prefix], without credentials", parameter="url"
        )
    if parts.scheme == "http" and not plain_http and not is_loopback(host):
        raise ValidationError(
            "url must be https: over http everyone on the way sees the API key "
            "(RemoteSettings(plain_http=True) takes it all the same)",
            parameter="url",
        )
    return parts


def _tls(ca: str | ssl.SSLContext | None) -> ssl.SSLContext:
    if isinstance(ca, ssl.SSLContext):
        if ca.verify_mode is not ssl.CERT_REQUIRED or not ca.check_hostname:
            raise ValidationError("ca must verify certificates and host names", parameter="ca")
        return ca
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise ValidationError(
            f"ca must be a file of CA certificates: {error}", parameter="ca"
        ) from (error)
