# SPDX-License-Identifier: Apache-2.0
"""The gateway: heads, bodies, limits, idempotency, and what it never shows."""

import asyncio
import base64
import itertools
import json
import math
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from qpher_core.asgi import Settings, create_app
from qpher_core.asgi.endpoint import Raw
from qpher_core.asgi.headers import Proxies, read_head
from qpher_core.asgi.sending import send_answer
from qpher_core.asgi.workers import Workers
from qpher_core.errors import StoreUnavailable, ValidationError
from qpher_core.models import Decision, PolicyRequest
from qpher_core.service import Qpher
from tests.http.server import client, serving

JSON = {"content-type": "application/json"}


def error(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal."""
    return answer.status_code, answer.json()["error"]["error_code"]


def generate(http: httpx.Client, **headers: str) -> httpx.Response:
    """Generate a key."""
    return http.post("/kms/keys/generate", json={"algorithm": "Kyber768"}, headers=headers)


# --- heads -------------------------------------------------------------------------------------


def test_the_request_id_is_the_callers(kms: Qpher, http: httpx.Client) -> None:
    """A UUID is taken, returned and recorded; anything else is replaced by a new one."""
    mine = str(uuid.uuid4())
    answer = generate(http, **{"x-request-id": mine})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == mine
    entries = [*kms._store.audit.read(kms.tenants.get("acme").id)]
    assert entries[-1].fields["request_id"] == mine
    public = http.get("/anchors/key")
    assert public.headers["x-request-id"] == public.json()["request_id"]
    for bad in ("x", mine + "0", "é" * 36, "{" + mine[1:-1] + "}"):
        given = http.get("/kms/keys", headers={"x-request-id": bad.encode()})
        assert uuid.UUID(given.headers["x-request-id"]) != uuid.UUID(mine)


def test_a_head_that_says_something_twice_is_refused(base: str, api_key: str) -> None:
    """Two API keys, or two idempotency keys, are no request."""
    for name in ("x-api-key", "idempotency-key"):
        headers = [("x-api-key", api_key), (name, api_key), (name, api_key)]
        answer = httpx.get(f"{base}/api/v1/kms/keys", headers=headers)
        assert answer.status_code in {400, 401}


def test_heads_that_others_may_read_otherwise_are_refused() -> None:
    """Two hosts are no request, and a body that came in another coding is encoded."""
    hosts = [(b"host", b"a"), (b"host", b"b")]
    assert read_head({"headers": hosts}).problem == "host is given more than once"
    for coding, encoded in ((b"Chunked", False), (b"gzip, chunked", True)):
        assert read_head({"headers": [(b"transfer-encoding", coding)]}).encoded is encoded


def test_bodies_of_later_versions_need_no_length() -> None:
    """What announces none has none in HTTP/1, and may have one in HTTP/2."""
    for version, length in (("1.1", 0), ("1.0", 0), ("2", None), ("3", None)):
        assert read_head({"http_version": version, "headers": []}).length == length
        head = read_head({"http_version": version, "headers": [(b"content-length", b"5")]})
        assert head.length == 5


def test_every_answer_is_hardened(base: str, http: httpx.Client) -> None:
    """Security headers are on every answer; no server header, no CORS."""
    origin = {"origin": "https://evil.example"}
    urls = ("/health/live", "/nothing", "/docs", "/metrics", "/api/v1/kms/keys")
    answers = [httpx.get(base + url, headers=origin) for url in urls]
    for answer in (*answers, http.get("/kms/keys", headers=origin)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
    preflight = httpx.options(
        f"{base}/api/v1/kms/keys", headers={**origin, "access-control-request-method": "GET"}
    )
    assert preflight.status_code == 405


def test_cors_is_for_named_origins(kms: Qpher) -> None:
    """An origin that the operator names may call, and no other."""
    with serving(create_app(kms, Settings(cors_origins=("https://ui.example",)))) as base:
        for origin, allowed in (("https://ui.example", True), ("https://evil.example", False)):
            answer = httpx.options(
                f"{base}/api/v1/kms/keys",
                headers={"origin": origin, "access-control-request-method": "GET"},
            )
            assert ("access-control-allow-origin" in answer.headers) == allowed
        answer = httpx.get(f"{base}/api/v1/kms/keys", headers={"origin": "https://ui.example"})
        exposed = answer.headers["access-control-expose-headers"]
        assert {"ratelimit", "retry-after", "idempotency-replayed"} <= set(exposed.split(", "))


def test_unknown_paths_and_methods(base: str) -> None:
    """What no route matches is in the same envelope."""
    assert error(httpx.get(f"{base}/api/v1/nothing")) == (404, "ERR_NOT_FOUND_001")
    answer = httpx.delete(f"{base}/api/v1/kem/encrypt")
    assert error(answer) == (405, "ERR_METHOD_001")
    assert answer.headers["allow"] == "POST"


# --- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]" * 2,
        b'{"plaintext": "AAAA", "plaintext": "AAAA"}',
        b'{"context": {"a": "x", "a": "y"}, "plaintext": "AAAA"}',
        b'{"plaintext": NaN}',
        b'{"plaintext": -Infinity}',
        b'{"plaintext": "AAAA", "mode": "\\ud800"}',
        b'{"plaintext": "\xff"}',
        b'\xef\xbb\xbf{"plaintext": "AAAA"}',
        b"[" * 100_000,
        b'{"key_version": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:24].decode("latin-1") if isinstance(body, bytes) else None,
)
def test_what_is_not_strict_json_is_malformed(http: httpx.Client, body: bytes) -> None:
    """Duplicates, NaN, lone surrogates, other encodings, endless nesting: 400."""
    headers = {**JSON, "content-length": str(len(body))}
    answer = http.post("/kem/encrypt", content=body, headers=headers)
    assert error(answer) == (400, "ERR_INVALID_001")


@pytest.mark.parametrize(
    "plaintext",
    [
        "AAB=",
        "AAB",
        "AA==\n",
        "AA-_",
        " AAAA",
        "AAAA=",
        "====",
        "AA=A",
        "ÄÄÄÄ",
        "AB==",
        5,
        None,
        [],
    ],
)
def test_base64_is_canonical(http: httpx.Client, plaintext: object) -> None:
    """Other alphabets, white space, missing or needless padding, bits to spare: refused."""
    answer = http.post("/kem/encrypt", json={"plaintext": plaintext})
    assert error(answer) == (400, "ERR_INVALID_003")
    assert "plaintext" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"plaintext": "AAAA", "key_version": "1"}, "key_version"),
        ({"plaintext": "AAAA", "key_version": True}, "key_version"),
        ({"plaintext": "AAAA", "key_version": 1.5}, "key_version"),
        ({"plaintext": "AAAA", "key_version": 0}, "key_version"),
        ({"plaintext": "AAAA", "key_version": 2**32}, "key_version"),
        ({"plaintext": "AAAA", "contxt": {}}, "contxt"),
        ({"plaintext": "AAAA", "context": {"a": 1}}, "context"),
        ({"plaintext": "AAAA", "mode": "fast"}, "mode"),
        ({"plaintext": "AAAA", "name": ""}, "name"),
        ({}, "plaintext"),
    ],
)
def test_wrong_members_are_named(http: httpx.Client, body: dict[str, Any], named: str) -> None:
    """A member that is unknown, missing, of another type or out of range is named."""
    answer = http.post("/kem/encrypt", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_bodies_are_json_without_encoding(http: httpx.Client) -> None:
    """Another media type, or a compressed body, is 415."""
    body = b'{"plaintext": "AAAA"}'
    for headers in ({"content-type": "text/plain"}, {}, {**JSON, "content-encoding": "gzip"}):
        answer = http.post("/kem/encrypt", content=body, headers=headers)
        assert error(answer) == (415, "ERR_INVALID_005")
    generate(http)
    answer = http.post(
        "/kem/encrypt", content=body, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 200


def test_payloads_have_a_limit(http: httpx.Client) -> None:
    """1 MiB is taken, one byte more is not; a larger body is not even read."""
    generate(http)
    for size, status in ((1 << 20, 200), ((1 << 20) + 1, 413)):
        body = {"plaintext": base64.b64encode(bytes(size)).decode()}
        assert http.post("/kem/encrypt", json=body).status_code == status
    answer = http.post("/kem/encrypt", content=b"x" * (4 << 20), headers=JSON)
    assert error(answer) == (413, "ERR_INVALID_004")


def test_chunked_bodies_have_the_same_limit(http: httpx.Client) -> None:
    """A body that does not announce its length is counted as it comes."""
    generate(http)

    def pieces(count: int) -> Iterator[bytes]:
        yield b'{"plaintext": "'
        for _ in range(count):
            yield b"A" * (1 << 16)
        yield b'"}'

    assert http.post("/kem/encrypt", content=pieces(4), headers=JSON).status_code == 200
    answer = http.post("/kem/encrypt", content=pieces(64), headers=JSON)
    assert error(answer) == (413, "ERR_INVALID_004")


def _raw(base: str, head: str, *, wait: float = 5) -> bytes:
    """Send bytes and return what comes back until the other side closes or falls silent."""
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(head.encode())
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            pass
        return received


def test_large_bodies_of_strangers_are_not_read(base: str) -> None:
    """Someone without a key is refused before a large body is sent."""
    received = _raw(
        base,
        "POST /api/v1/kem/encrypt HTTP/1.1\r\nhost: x\r\nx-api-key: qph_no\r\n"
        "content-type: application/json\r\ncontent-length: 2000000\r\n\r\n",
        wait=1,
    )
    assert received.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("begun", ['{"plaintext":', ""], ids=["half", "nothing"])
def test_a_body_that_does_not_come_is_given_up(kms: Qpher, api_key: str, begun: str) -> None:
    """Whoever announces a body and sends half of it, or nothing, is answered after the deadline."""
    with serving(create_app(kms, Settings(body_deadline=0.3))) as base:
        received = _raw(
            base,
            f"POST /api/v1/kem/encrypt HTTP/1.1\r\nhost: x\r\nx-api-key: {api_key}\r\n"
            f"content-type: application/json\r\ncontent-length: 100\r\n\r\n{begun}",
            wait=2,
        )
    assert received.startswith(b"HTTP/1.1 504")
    assert b"ERR_TIMEOUT_001" in received


def test_query_parameters_are_strict(http: httpx.Client) -> None:
    """Unknown, repeated, malformed and missing parameters are refused by name."""
    for query in ("?x=1", "?status=%ff", "?status=active&status=retired", "?limit=0", "?limit=a"):
        assert http.get("/kms/keys" + query).status_code == 400, query
    assert http.get("/kms/keys/active").status_code == 400
    assert http.get("/kms/keys/nan?algorithm=Kyber768").status_code == 404
    for version in ("0", "4294967296", "9" * 5000):
        assert http.get(f"/kms/keys/{version}?algorithm=Kyber768").status_code == 400, version
    assert httpx.get(f"{http.base_url}kms/keys/{'9' * 5000}").status_code == 401
    for query in ("limit=null", "until=0.5", "until=2026-01-01", "since=%ff", "limit=1&limit=1"):
        answer = http.get("/audit/entries?" + query)
        assert error(answer) == (422, "ERR_INVALID_003"), query
        assert query.partition("=")[0] in answer.json()["error"]["message"]
    assert http.get("/audit/entries?name=null").json()["data"]["entries"] == []


@pytest.mark.parametrize("limit", ["1.0", "1e1", "01", "+1", "%201", "1_0", "-0"])
def test_whole_numbers_in_queries_are_digits(http: httpx.Client, limit: str) -> None:
    """What is no whole number in a body is none in a query."""
    assert error(http.get(f"/audit/entries?limit={limit}")) == (422, "ERR_INVALID_003")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar_are_refused(http: httpx.Client, moment: str) -> None:
    """They are none in UTC, which entries are written in."""
    for path in ("/audit/entries", "/audit/export"):
        for name in ("since", "until"):
            answer = http.get(f"{path}?{name}={moment}")
            assert error(answer) == (422, "ERR_INVALID_003")
            assert answer.json()["error"]["parameter"] == name


def test_paths_are_spelled_in_one_way(http: httpx.Client, kms: Qpher) -> None:
    """Encoded slashes and line ends are no part of a path."""
    administrator = kms.api_keys.create("acme", scopes=("admin",))[1]
    tenant = kms.tenants.get("acme").id
    for path in (
        "/kms%2Fkeys",
        "/kms/keys%0A",
        "/kms/keys/1%0A?algorithm=Kyber768",
        "/kms/keys/%00",
        "/kms//keys",
        "/admin/tenants/service%0A/policy",
        f"/admin/tenants/{tenant}%0A/policy",
    ):
        answer = http.get(path, headers={"x-api-key": administrator})
        assert error(answer) == (404, "ERR_NOT_FOUND_001"), path


# --- deadlines and load ------------------------------------------------------------------------


class Slow:
    """A policy engine that waits for permission."""

    may_block = False

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Semaphore(0)

    def decide(self, _: PolicyRequest) -> Decision:
        """Wait, then allow."""
        self.asked.release()
        self.go.wait(10)
        return Decision(allow=True, rule="slow", reason="")


def test_the_deadline_is_an_answer(kms: Qpher, api_key: str) -> None:
    """A request that takes too long is 504; what it did is in the log all the same."""
    slow = Slow()
    kms._pipeline._policy = slow
    with serving(create_app(kms, Settings(deadline=0.3))) as base, client(base, api_key) as http:
        answer = generate(http)
        assert error(answer) == (504, "ERR_TIMEOUT_001")
        slow.go.set()
        for _ in range(100):
            if kms._store.keys.find(kms.tenants.get("acme").id):
                break
            time.sleep(0.05)
        assert http.get("/kms/keys").json()["data"]["total"] == 1


def test_too_many_requests_do_not_pile_up(kms: Qpher, api_key: str) -> None:
    """When all threads are busy and enough wait, further requests are refused at once."""
    slow = Slow()
    kms._pipeline._policy = slow
    app = create_app(kms, Settings(threads=1, waiting=1))
    with (
        serving(app) as base,
        client(base, api_key) as http,
        ThreadPoolExecutor(6) as threads,
    ):
        asked = [threads.submit(http.get, "/kms/keys") for _ in range(6)]
        answered = as_completed(asked)
        refused = [next(answered).result() for _ in range(4)]  # two have a place, and wait
        slow.go.set()
        let_in = [future.result() for future in answered]
    for answer in refused:
        assert error(answer) == (503, "ERR_SERVICE_001")
        assert answer.headers["retry-after"] == "1"
    assert [answer.status_code for answer in let_in] == [200, 200]


def streamed(pieces: Iterator[bytes], *, method: str = "GET", reads: int | None = None) -> Any:
    """Return what is sent of a stream to a client that goes away after some pieces, if at all."""
    sent: list[dict[str, Any]] = []
    gone = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if reads is not None and len(sent) > reads:
            gone.set()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def stream() -> int:
        workers = Workers(Settings(threads=1, waiting=1))
        workers.busy = 2
        scope = {"type": "http", "method": method, "headers": []}
        answer = Raw("application/jsonl", pieces, next(pieces))
        try:
            return await send_answer(scope, receive, send, answer, read_head(scope), workers)
        finally:
            workers.close()

    assert asyncio.run(stream()) == sent[0]["status"] == 200
    return [message["body"] for message in sent[1:]]


def test_an_export_that_has_begun_is_not_refused() -> None:
    """However many wait by then, it is sent to its end: it was let in when it was asked for."""
    assert streamed(iter([b"one", b"two", b"three"])) == [b"one", b"two", b"three", b""]


def test_an_export_that_nobody_reads_ends() -> None:
    """When its reader goes away no more of the log is read, and what was sent is not whole."""
    pieces = itertools.repeat(b"x", 1000)
    assert len(streamed(pieces, reads=3)) < 10
    assert next(pieces) == b"x"
    assert streamed(pieces, method="HEAD") == [b""]
    assert next(pieces) == b"x"


# --- rate limits -------------------------------------------------------------------------------


def test_rates_are_limited_per_key_and_tenant(kms: Qpher) -> None:
    """Beyond a rate the answer is 429 with Retry-After; other tenants are not concerned."""
    kms.tenants.create("other")
    keys = [kms.api_keys.create("acme")[1] for _ in range(2)]
    other = kms.api_keys.create("other")[1]
    settings = Settings(tenant_rate="5/minute", key_rate="3/minute")
    with serving(create_app(kms, settings)) as base:
        with client(base, keys[0]) as one, client(base, keys[1]) as two:
            answers = [one.get("/kms/keys") for _ in range(4)]
            assert [a.status_code for a in answers] == [200] * 3 + [429]
            assert error(answers[-1]) == (429, "ERR_RATE_001")
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
            assert answers[0].headers["ratelimit-policy"] == '"tenant";q=5;w=60, "key";q=3;w=60'
            assert answers[0].headers["ratelimit"].startswith('"tenant";r=4;t=')
            assert [two.get("/kms/keys").status_code for _ in range(3)] == [200, 200, 429]
        with client(base, other) as three:
            assert three.get("/kms/keys").status_code == 200


def test_a_plan_has_a_rate(kms: Qpher) -> None:
    """A tenant of the free plan is held to the plan's rate."""
    kms.tenants.create("small", plan="free")
    key = kms.api_keys.create("small")[1]
    with serving(create_app(kms)) as base, client(base, key) as http:
        statuses = [http.get("/tenants/me").status_code for _ in range(12)]
    assert statuses[:5] == [200] * 5
    assert 429 in statuses


def test_rates_that_cannot_be_counted_refuse(kms: Qpher, api_key: str) -> None:
    """If the place where requests are counted fails, nobody passes."""
    app = create_app(kms, Settings(key_rate="100/second"))
    [gateway] = app.routes[0].app.gateways.values()  # type: ignore[attr-defined]

    def fail(*_: object) -> None:
        raise ConnectionError("canary")

    gateway._parts.rates._limiter.test = fail
    with serving(app) as base, client(base, api_key) as http:
        answer = http.get("/kms/keys")
    assert error(answer) == (503, "ERR_SERVICE_001")
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    "settings",
    [
        Settings(tenant_rate="many"),
        Settings(tenant_rate="100/second; 1000/day"),
        Settings(rate_storage="what://"),
        Settings(rate_storage="async+memory://"),
        Settings(trusted_proxies=("x",)),
    ],
)
def test_bad_settings_are_refused(kms: Qpher, settings: Settings) -> None:
    """A setting that is none is named when the application is made."""
    with pytest.raises(ValidationError) as refusal:
        create_app(kms, settings)
    assert refusal.value.parameter in {"tenant_rate", "rate_storage", "trusted_proxies"}


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        *(("deadline", wrong) for wrong in (0, -1, "1", True, math.nan, math.inf, None)),
        *(("body_deadline", wrong) for wrong in (0, "1", math.nan)),
        *(("threads", wrong) for wrong in (0, 1.5, "1", True)),
        ("waiting", 0),
        ("largest_payload", 0),
        ("largest_body", 1023),
        ("tenant_rate", 5),
        ("key_rate", b"5/second"),
        ("rate_storage", None),
        ("trusted_proxies", "10.0.0.0/8"),
        ("trusted_proxies", (5,)),
        ("cors_origins", None),
    ],
)
def test_settings_are_checked(parameter: str, wrong: Any) -> None:
    """A value of another type or out of range is named when the settings are made."""
    with pytest.raises(ValidationError) as refusal:
        Settings(**{parameter: wrong})
    assert refusal.value.parameter == parameter


# --- idempotency -------------------------------------------------------------------------------


def test_the_same_request_is_made_once(kms: Qpher, http: httpx.Client) -> None:
    """The same key and request give the same answer, byte for byte, and one key version."""
    headers = {"idempotency-key": "k-1"}
    first, second = generate(http, **headers), generate(http, **headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(kms._store.keys.find(kms.tenants.get("acme").id)) == 1


def test_another_request_under_the_same_key_is_refused(
    kms: Qpher, base: str, http: httpx.Client
) -> None:
    """Another body, path or API key is another request."""
    headers = {"idempotency-key": "k-1"}
    assert generate(http, **headers).status_code == 201
    other = http.post("/kms/keys/generate", json={"algorithm": "X-Wing"}, headers=headers)
    assert error(other) == (400, "ERR_INVALID_003")
    with client(base, kms.api_keys.create("acme", scopes=("keys",))[1]) as second:
        assert generate(second, **headers).status_code == 400
    assert len(kms._store.keys.find(kms.tenants.get("acme").id)) == 1


def test_a_refused_request_can_be_repeated(http: httpx.Client) -> None:
    """What was refused did nothing, and is tried anew."""
    headers = {"idempotency-key": "k-1"}
    body = {"algorithm": "Kyber768", "key_version": 1}
    refused = http.post("/kms/keys/retire", json=body, headers=headers)
    assert refused.status_code == 404
    generate(http)
    assert http.post("/kms/keys/retire", json=body, headers=headers).status_code == 200


def test_new_api_keys_are_given_again_and_stored_sealed(
    kms: Qpher, base: str, http: httpx.Client
) -> None:
    """The secret of a new API key comes back on repetition, and is nowhere in the store."""
    tenant_id = kms.tenants.get("acme").id
    headers = {"idempotency-key": "k-1"}
    url = f"/tenants/{tenant_id}/api-keys"
    first = http.post(url, json={"name": "ci"}, headers=headers)
    assert first.status_code == 201
    assert http.post(url, json={"name": "ci"}, headers=headers).content == first.content
    secret = first.json()["data"]["api_key"]
    kms.api_keys.authenticate(secret)
    path = kms._store._path  # type: ignore[attr-defined]
    stored = b"".join(file.read_bytes() for file in path.parent.glob("q.db*"))
    assert secret[17:60].encode() not in stored


def test_racing_repetitions_make_one(kms: Qpher, base: str, api_key: str) -> None:
    """Of sixteen at once one is made; the others get its answer or are told to wait."""
    statuses: list[int] = []

    def attempt() -> None:
        with client(base, api_key) as http:
            statuses.append(generate(http, **{"idempotency-key": "race"}).status_code)

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert len(kms._store.keys.find(kms.tenants.get("acme").id)) == 1


# --- what it shows -----------------------------------------------------------------------------


def test_unexpected_errors_show_nothing(
    kms: Qpher,
    http: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error that nobody foresaw is 500 without its text, in the answer and in the log."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(kms._pipeline, "run", fail)
    answer = generate(http)
    assert error(answer) == (500, "ERR_INTERNAL_001")
    assert "canary" not in answer.text
    assert "unexpected RuntimeError" in caplog.text
    assert "canary" not in caplog.text


def test_metrics_have_no_tenant_data(kms: Qpher, base: str, http: httpx.Client) -> None:
    """Requests are counted by route, method and status."""
    generate(http)
    http.get("/kms/keys/7?algorithm=Kyber768&name=canary")
    text = httpx.get(f"{base}/metrics").text
    assert (
        'qpher_http_requests_total{method="POST",route="/kms/keys/generate",status="201"} 1.0'
        in text
    )
    assert 'route="/kms/keys/{key_version}",status="404"' in text
    for private in ("acme", "canary", str(kms.tenants.get("acme").id)):
        assert private not in text


def test_readiness_names_what_cannot_answer(
    kms: Qpher, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part that fails makes the service unready, by name and without its own words."""
    ready = httpx.get(f"{base}/health/ready")
    assert ready.status_code == 200
    assert set(ready.json()["checks"].values()) == {"ok"}

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("canary")

    for target, name in (
        ((kms._store, "commit"), "audit log"),
        ((kms._protector, "derive"), "protector"),
        ((kms._pipeline, "ask"), "policy engine"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(*target, fail)
            time.sleep(1.05)  # an answer is kept for a second
            answer = httpx.get(f"{base}/health/ready")
        assert answer.status_code == 503
        assert answer.json()["checks"][name] == "cannot answer"
        assert "canary" not in answer.text
    assert httpx.get(f"{base}/health/live").json() == {"status": "alive"}


def test_the_source_is_the_peer_unless_a_proxy_is_trusted(kms: Qpher, api_key: str) -> None:
    """Policy sees the peer's address; that of a trusted proxy's client; never a claim."""
    seen: list[str | None] = []

    class Watch:
        may_block = False

        def decide(self, request: PolicyRequest) -> Decision:
            seen.append(request.source)
            return Decision(allow=True, rule="watch", reason="")

    kms._pipeline._policy = Watch()
    headers = {"x-forwarded-for": "1.1.1.1, 10.9.9.9, 203.0.113.7"}
    for trusted in ((), ("127.0.0.0/8",), ("127.0.0.0/8", "203.0.113.0/24", "10.0.0.0/8")):
        app = create_app(kms, Settings(trusted_proxies=trusted))
        with serving(app) as base, client(base, api_key) as http:
            assert http.get("/kms/keys", headers=headers).status_code == 200
    assert seen == ["127.0.0.1", "203.0.113.7", "1.1.1.1"]


def test_lines_of_several_proxies_are_one_list() -> None:
    """The source is found behind proxies that add a line each, and behind IPv4-mapped ones."""
    proxies = Proxies(("10.0.0.0/8", "::ffff:192.0.2.0/120"))
    lines = [(b"x-forwarded-for", value) for value in (b"203.0.113.7", b"10.0.0.5, 10.0.0.6")]
    forwarded = read_head({"headers": [*lines, (b"accept", b"*/*")]}).forwarded
    for peer in ("10.0.0.7", "::ffff:10.0.0.7", "::ffff:192.0.2.7"):
        assert proxies.source(peer, forwarded) == "203.0.113.7"
    assert proxies.source("::ffff:198.51.100.1", forwarded) == "::ffff:198.51.100.1"


def test_the_application_can_be_mounted(kms: Qpher, api_key: str) -> None:
    """Inside another application it works below its prefix."""
    outer = Starlette(routes=[Mount("/kms-service", create_app(kms))])
    with serving(outer) as base, client(base + "/kms-service", api_key) as http:
        assert generate(http).status_code == 201
        assert http.get("/kms/keys/1?algorithm=Kyber768").json()["data"]["key_version"] == 1
        page = httpx.get(f"{base}/kms-service/docs")
        assert page.status_code == 200
        document = httpx.get(f"{base}/kms-service/openapi.json").json()
        assert document["servers"] == [{"url": "/kms-service"}]


def test_an_application_that_ended_can_begin_again(kms: Qpher, api_key: str) -> None:
    """Tests, and servers that reload, begin one application several times."""
    app = create_app(kms)
    for _ in range(2):
        with serving(app) as base, client(base, api_key) as http:
            assert generate(http).status_code == 201
            assert http.post("/kem/encapsulate", json={}).status_code == 200


def test_answers_to_head_requests_have_no_secrets(base: str, api_key: str) -> None:
    """HEAD is answered like GET."""
    answer = httpx.head(f"{base}/api/v1/kms/keys", headers={"x-api-key": api_key})
    assert answer.status_code == 200
    assert json.dumps(dict(answer.headers)).find("qph_") == -1
