# SPDX-License-Identifier: Apache-2.0
"""Policy engines to talk to over real sockets: a Rego interpreter, and servers that misbehave."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

from regopy import Interpreter

from tests.http_server import Answer, serving_answers

__all__ = ["HTTP_ANSWERS", "answering", "hanging_up", "rego", "saying"]


@contextlib.contextmanager
def answering(answer: Callable[[object], Answer]) -> Iterator[str]:
    """Serve HTTP; ``answer`` gets the request's JSON. Yields host and port."""
    with serving_answers(lambda request: answer(json.loads(request.body))) as url:
        yield url.removeprefix("http://")


def saying(content: bytes, status: int = 200, **headers: str) -> Callable[[object], Answer]:
    """Answer always the same."""
    return lambda _: (status, headers, content)


def rego(policy: str) -> Callable[[object], Answer]:
    """Answer as the Data API does, by a Rego policy with ``data.qpher.allow``."""
    lock = threading.Lock()

    def answer(document: object) -> Answer:
        assert isinstance(document, dict)
        with lock:
            interpreter = Interpreter()
            interpreter.add_module("qpher", policy)
            interpreter.set_input(document["input"])
            output = interpreter.query("x := data.qpher.allow")
        if not output.ok():
            return 500, {}, b'{"code": "internal_error", "message": "eval_conflict_error"}'
        bound = [result.bindings for result in output.results if "x" in result.bindings]
        found = {"result": bound[0]["x"]} if bound else {}
        return 200, {}, json.dumps(found).encode()

    return answer


@contextlib.contextmanager
def hanging_up(first: bytes = b"", *, wait: bool = False) -> Iterator[str]:
    """Accept connections, send a few bytes, and then hang up or say nothing more."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                connection, _ = listener.accept()
                connection.recv(1 << 16)
                connection.sendall(first)
                kept.append(connection)
                if not wait:
                    connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in kept:
            connection.close()
        thread.join()


#: What servers answer that is no allowance, by name.
HTTP_ANSWERS = {
    "500": saying(b'{"result":true,"allow":true}', 500),
    "201": saying(b'{"result":true,"allow":true}', 201),
    "204": saying(b"", 204),
    "redirect": saying(b"", 302, Location="/v1/data/other"),
    "nothing": saying(b""),
    "{}": saying(b"{}"),
    "null": saying(b"null"),
    "true": saying(b"true"),
    "[true]": saying(b"[true]"),
    '"true"': saying(b'{"result":"true","allow":"true"}'),
    "1": saying(b'{"result":1,"allow":1}'),
    "null result": saying(b'{"result":null,"allow":null}'),
    "object": saying(b'{"result":{"allow":true},"allow":{"result":true}}'),
    "capital": saying(b'{"Result":true,"Allow":true}'),
    "not JSON": saying(b'{"result":true'),
    "deep": saying(b"[" * 60_000),
    "a megabyte": saying(b'{"result":true,"allow":true,"x":"' + bytes(1 << 20) + b'"}'),
    "not UTF-8": saying(b'{"result":true,"allow":true,"x":"\xff"}'),
}
