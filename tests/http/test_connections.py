# SPDX-License-Identifier: Apache-2.0
"""Connections: heads have bounds, and a request is what its sender sent, or is refused."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from qpher_core.asgi import create_app
from qpher_core.asgi.connections import Connection
from qpher_core.service import Qpher
from tests.http.server import serving

BODY = b'{"algorithm": "Kyber768"}'
LIVE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)


class Impatient(Connection):
    """A connection that waits for a moment only."""

    seconds = 0.2


def generate(api_key: str, rest: bytes, *fields: str) -> bytes:
    """Return a request for a key, from its last fields on as given."""
    head = ["POST /api/v1/kms/keys/generate HTTP/1.1", "host: x", f"x-api-key: {api_key}"]
    head += ["content-type: application/json", *fields]
    return "\r\n".join(head).encode() + b"\r\n" + rest


def whole(api_key: str, *fields: str) -> bytes:
    """Return a whole request for a key."""
    return generate(api_key, b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY), *fields)


@contextlib.contextmanager
def connected(base: str) -> Iterator[socket.socket]:
    """Connect to a server."""
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield connection


def received(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def asked(base: str, sent: bytes) -> bytes:
    """Return what comes for what is sent, until the server closes the connection."""
    with connected(base) as connection:
        connection.sendall(sent)
        return received(connection)


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of answers in order."""
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def refusal(answer: bytes) -> dict[str, Any]:
    """Return the error of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"x-content-type-options: nosniff" in head
    assert b"connection: close" in head
    envelope = json.loads(body)
    assert envelope["request_id"].encode() in head
    found: dict[str, Any] = envelope["error"]
    return found


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"GET /health/live HTTP/1.1\r\nx: ", b"a" * 65536),
        (b"GET /health/live HTTP/1.1\r\n", b"x: y\r\n" * 10_000),
        (b"GET /health/live?", b"a" * 65536),
        (b"POST /health/live HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;", b"a" * 65536),
        (b"POST /health/live HTTP/1.1\r\n" + CHUNKED + b"x: ", b"a" * 65536),
    ],
    ids=["field", "fields", "path", "chunk", "trailer"],
)
def test_a_head_without_end_is_refused(base: str, begun: bytes, piece: bytes) -> None:
    """Nobody makes the server keep more than some hundred kilobytes without a body."""
    sent = 0
    with connected(base) as connection:
        connection.sendall(begun)
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 25:
                sent += connection.send(piece)
    assert sent < 1 << 25  # most of it is what the systems' buffers take


def test_a_head_that_is_too_large_is_told(base: str) -> None:
    """Its sender learns how large one may be, in the form of all errors."""
    with connected(base) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nx: ")
        answer = b""
        while not answer:
            connection.sendall(b"a" * 1024)
            connection.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
            connection.settimeout(10)
    assert "65536 bytes" in refusal(answer)["message"]


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /health/live HTTP/1.1\r\nhost: ",
        LIVE + b"GET /health",
        b"POST /api/v1/kem/encrypt HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a second head", "half a body after its answer"],
)
def test_what_does_not_come_is_not_waited_for(kms: Qpher, begun: bytes) -> None:
    """Whoever connects and sends no whole head, or no whole body after its answer, is cut off."""
    with serving(create_app(kms), http=Impatient) as base:
        assert statuses(asked(base, begun)) in ([], [200], [401])


def test_requests_are_waited_for_as_long_as_they_are_answered(kms: Qpher, api_key: str) -> None:
    """A second request that is begun while the first is answered does not end it."""

    class Hasty(Connection):
        seconds = 0.001

    with serving(create_app(kms), http=Hasty) as base:
        answers = asked(base, whole(api_key) + b"GET /health")
    assert statuses(answers) == [201]


def test_trailers_are_no_headers(base: str, api_key: str) -> None:
    """A field after the body gives nobody a key, takes none, and sets no source."""
    trailer = CHUNKED + f"x-api-key: {api_key}\r\nconnection: close\r\n\r\n".encode()
    stranger = generate("", trailer).replace(b"x-api-key: \r\n", b"connection: close\r\n")
    assert statuses(asked(base, stranger)) == [401]
    owner = generate(api_key, CHUNKED + b"x-api-key: qph_no\r\n\r\n", "connection: close")
    assert statuses(asked(base, owner)) == [201]


def test_white_space_around_a_field_is_none_of_it(base: str, api_key: str) -> None:
    """It may stand before and after every value (RFC 9110, 5.5)."""
    assert statuses(asked(base, whole(f"  {api_key} \t", "connection: close"))) == [201]


def test_whoever_sends_no_more_is_answered(base: str, api_key: str) -> None:
    """A client that closes its half of the connection reads the answers to what it sent."""
    with connected(base) as connection:
        connection.sendall(whole(api_key) * 2)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(received(connection)) == [201, 201]


def test_half_a_request_is_none(base: str, kms: Qpher, api_key: str) -> None:
    """A client that closes its half before its request is whole gets no answer and no key."""
    with connected(base) as connection:
        connection.sendall(whole(api_key)[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert received(connection) == b""
    assert kms.session("acme", actor="me").keys.list() == []


def test_a_body_is_not_taken_for_another_protocol(base: str, kms: Qpher, api_key: str) -> None:
    """A request that has a body and asks for HTTP/2 is refused; one without is answered."""
    upgrade = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AA")
    error = refusal(asked(base, whole(api_key, *upgrade)))
    assert (error["error_code"], "another protocol" in error["message"]) == (
        "ERR_INVALID_001",
        True,
    )
    assert kms.session("acme", actor="me").keys.list() == []
    fields = "\r\n".join(upgrade).encode()
    assert statuses(asked(base, LIVE[:-2] + fields + b"\r\n\r\n")) == [200]


def test_what_is_no_request_is_refused_in_the_form_of_all_errors(base: str) -> None:
    """Two lengths, a length beside chunks, other codings, other line ends: 400, and closed."""
    post = b"POST /api/v1/kem/encrypt HTTP/1.1\r\nhost: x\r\n"
    for fields in (
        b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        b"content-length: 2, 2\r\n\r\n{}",
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"content-length : 2\r\n\r\n{}",
        b"transfer-encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"x: \0\r\n\r\n",
    ):
        assert refusal(asked(base, post + fields))["error_code"] == "ERR_INVALID_001", fields
    end = b" HTTP/1.1\r\n\r\n"
    for line in (b"FOO /" + end, b"GET / HTTP/1.1\n\n", b"GET http://x" + end):
        assert refusal(asked(base, line))["type"] == "ValidationError"


def test_what_precedes_what_is_no_request_is_answered(base: str, api_key: str) -> None:
    """A request is answered, and by its own answer, whatever is sent after it."""
    assert statuses(asked(base, whole(api_key) + b"\0\0\r\n\r\n")) == [201]
