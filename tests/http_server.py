# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that answers as a test says."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import frozen

__all__ = ["Answer", "Request", "serving_answers"]

#: Status, headers and body.
Answer = tuple[int, Mapping[str, str], bytes]


@frozen
class Request:
    """What a client sent; ``target`` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@contextlib.contextmanager
def serving_answers(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Serve HTTP on loopback; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = dict(self.headers.items())
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = answer(Request(self.command, self.path, sent, body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):  # a client that has given up
                self.wfile.write(content)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
