# SPDX-License-Identifier: Apache-2.0
"""What can stand between a client and its service: a proxy that loses answers, bad servers."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

from tests.http_server import Answer, serving_answers

__all__ = ["Proxy", "dripping", "proxied", "replying"]


class Proxy:
    """Passes requests on to a service, and its answers back as far as it is told to.

    Attributes:
        url: for clients.
        plan: what happens to the next answers, one word each: ``pass``, ``lose`` (the connection
            is closed instead), ``half`` (closed in the middle), ``hold`` (nothing more comes),
            ``drop`` (closed before there is one); ``pass`` when it is used up.
        seen: gets every request.
        requests: how many were passed on.
        connections: how many were accepted.
    """

    def __init__(self, upstream: str) -> None:
        self._host, _, port = upstream.removeprefix("http://").partition(":")
        self._port = int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.plan: list[str] = []
        self.seen: Callable[[bytes], object] = len
        self.requests = 0
        self.connections = 0

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Refuse further connections, and cut those that are held."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for held in self._held:
            held.close()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.create_connection((self._host, self._port)) as server:
            while (request := _message(client)) is not None:
                with self._lock:
                    self.requests += 1
                    what = self.plan.pop(0) if self.plan else "pass"
                self.seen(request)
                server.sendall(request)
                answer = b"" if what == "drop" else _message(server)
                assert answer is not None
                if what == "pass":
                    client.sendall(answer)
                    continue
                if what == "half":
                    client.sendall(answer[: len(answer) - 40])
                if what == "hold":
                    self._held.append(client.dup())
                return


def _message(source: socket.socket) -> bytes | None:
    """Read one HTTP message with a content-length; None at the end of the connection."""
    data = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in data:
            more = source.recv(1 << 16)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += source.recv(1 << 16)
        return head + b"\r\n\r\n" + body
    return None


@contextlib.contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """Stand between clients and the service at a URL."""
    proxy = Proxy(upstream)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        with contextlib.suppress(OSError):
            proxy.close()
        thread.join()


def replying(
    answer: Callable[[str, str, Mapping[str, str]], Answer],
) -> contextlib.AbstractContextManager[str]:
    """Serve HTTP; ``answer`` gets method, target and headers. Gives the URL."""
    return serving_answers(lambda sent: answer(sent.method, sent.target, sent.headers))


@contextlib.contextmanager
def dripping(first: bytes, more: bytes) -> Iterator[str]:
    """Answer every connection with ``first`` and then ``more`` byte by byte, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(first)
            while not over.wait(0.02):
                connection.sendall(more)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
