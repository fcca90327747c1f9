# SPDX-License-Identifier: Apache-2.0
"""Answers of a server that are none, or tell of a failure: each is an error of its kind."""

import base64
import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import qpher_core
from qpher_core import (
    AuthenticationError,
    NotFound,
    OutcomeUnknown,
    QpherError,
    RemoteSettings,
    StateConflict,
    Unavailable,
    ValidationError,
)
from qpher_core.api_key_format import make_secret
from qpher_core.lifecycle import KeyState
from qpher_core.models import KeyRef, KeyVersion
from tests.failure.elsewhere import JSON, KEM, TENANT, connected, enveloped, saying, telling
from tests.failure.wire import replying
from tests.http_server import Answer
from tests.records import NOW

GOOD: dict[str, Any] = {
    "kem_ciphertext": base64.b64encode(bytes(1088)).decode(),
    "shared_secret": base64.b64encode(bytes(32)).decode(),
    "key_version": 1,
    "algorithm": "Kyber768",
    "receipt": {"seq": 7, "hash": "00" * 32},
}
KEY: dict[str, Any] = {
    "algorithm": KEM,
    "status": "retired",
    "public_key": base64.b64encode(bytes(1184)).decode(),
    "created_at": NOW.isoformat(),
    "changed_at": NOW.isoformat(),
    "compromised_at": None,
    "reason": "",
    "revision": 1,
}


def changed(**members: object) -> dict[str, Any]:
    """Return the good data with other members; None is left out."""
    return {name: v for name, v in {**GOOD, **members}.items() if v is not None}


BAD_ANSWERS: dict[str, Callable[[str, str, Mapping[str, str]], Answer]] = {
    "nothing": saying(b""),
    "not JSON": saying(b"<html>"),
    "null": saying(b"null"),
    "a list": saying(b"[]"),
    "no members": saying(b"{}"),
    "no data": saying(b'{"request_id":"x","timestamp":"x"}'),
    "deep": saying(b"[" * 100_000),
    "not UTF-8": saying(b'{"data":"\xff"}'),
    "half": saying(enveloped(GOOD, str(uuid.uuid4()))[:-5]),
    "a megabyte": saying(b"x" * (1 << 20)),
    "a megabyte of JSON": saying(b'{"data":"' + b"x" * (1 << 20) + b'"}'),
    "too long": saying(b" " * (9 << 20)),
    "another request": saying(enveloped(GOOD, str(uuid.uuid4()))),
    "no request": saying(enveloped(GOOD, "")),
    "another media type": telling(GOOD, headers={"Content-Type": "text/html"}),
    "no media type": telling(GOOD, headers={}),
    "encoded": telling(GOOD, headers={**JSON, "Content-Encoding": "gzip"}),
    "201": telling(GOOD, 201),
    "204": saying(b"", 204),
    "206": telling(GOOD, 206),
    "redirect": telling(GOOD, 302, {**JSON, "Location": "/api/v1/elsewhere"}),
    "permanent redirect": telling(GOOD, 308, {**JSON, "Location": "/api/v1/elsewhere"}),
    "no secret": telling(changed(shared_secret=None)),
    "a secret of another type": telling(changed(shared_secret=1)),
    "a secret that is no base64": telling(changed(shared_secret="*" * 44)),
    "a short secret": telling(changed(shared_secret="AAAA")),
    "a short ciphertext": telling(changed(kem_ciphertext="AAAA")),
    "another version": telling(changed(key_version=2)),
    "version 0": telling(changed(key_version=0)),
    "a version of text": telling(changed(key_version="1")),
    "another algorithm": telling(changed(algorithm="X-Wing")),
    "an unknown algorithm": telling(changed(algorithm="RSA")),
    "no receipt": telling(changed(receipt=None)),
    "a receipt of text": telling(changed(receipt="x")),
    "a receipt without a place": telling(changed(receipt={"seq": -1, "hash": "00" * 32})),
    "a receipt without a hash": telling(changed(receipt={"seq": 1, "hash": "00"})),
}


def test_the_good_answer_is_taken() -> None:
    """What the bad answers below differ from is accepted."""
    with replying(telling(GOOD)) as url, connected(url, make_secret()[1]) as session:
        assert session.kem.encapsulate(1).shared_secret == bytes(32)


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_are_errors(name: str) -> None:
    """An answer that is not one of this API is never taken, repeated or followed."""
    asked: list[str] = []

    def answer(method: str, target: str, headers: Mapping[str, str]) -> Answer:
        asked.append(target)
        return BAD_ANSWERS[name](method, target, headers)

    with replying(answer) as url, connected(url, make_secret()[1], attempts=1) as session:
        with pytest.raises(Unavailable) as caught:
            session.kem.encapsulate(1)
        assert not isinstance(caught.value, OutcomeUnknown)
        with pytest.raises(OutcomeUnknown):
            session.keys.generate(KEM)
    assert asked == ["/api/v1/kem/encapsulate", "/api/v1/kms/keys/generate"]


def test_a_batch_with_another_number_of_items() -> None:
    """Neither more nor fewer results than items, and each is a result or an error."""
    good = {"result": GOOD}
    for items in ([good], [good] * 3, [good, {}], [good, {**good, "error": {}}], [good, None]):
        with (
            replying(telling({"items": items})) as url,
            connected(url, make_secret()[1]) as session,
            pytest.raises(Unavailable),
        ):
            session.kem.encapsulate_many(2, 1)


@pytest.mark.parametrize(
    "result",
    [{"key_version": 2}, {"algorithm": "X-Wing"}, {"shared_secret": "AAAA"}, None],
    ids=["version", "algorithm", "length", "nothing"],
)
def test_a_private_key_elsewhere_takes_no_answer_about_another(
    result: dict[str, Any] | None,
) -> None:
    """Key, version and lengths are checked, of an answer alone and of each in a batch."""
    ref = KeyRef(TENANT, "default", KEM, 1)
    key = KeyVersion(ref, KeyState.ACTIVE, bytes(1184), NOW, NOW, "", 1)
    data = {} if result is None else changed(**result)
    batch = {"items": [{"result": GOOD}, {} if result is None else {"result": data}]}

    def answer(method: str, target: str, headers: Mapping[str, str]) -> Answer:
        return telling(batch if "batch" in target else data)(method, target, headers)

    with replying(answer) as url:
        remote = RemoteSettings(tenant_id=TENANT)
        with qpher_core.open(url, api_key=make_secret()[1], remote=remote) as service:
            opened = service.key_store().open_decapsulation(key)
            for attempt in (
                lambda: opened.decapsulate(bytes(1088)),
                lambda: opened.decapsulate_many([bytes(1088)] * 2),
            ):
                with pytest.raises(Unavailable):
                    attempt()


@pytest.mark.parametrize("size", [0, 1, 2420, 2421])
def test_a_signing_key_elsewhere_takes_no_signature_of_another_length(size: int) -> None:
    """What is empty or longer than any signature of the algorithm is none."""
    ref = KeyRef(TENANT, "default", "ML-DSA-44", 1)
    key = KeyVersion(ref, KeyState.ACTIVE, bytes(1312), NOW, NOW, "", 1)
    data = {**GOOD, "algorithm": "ML-DSA-44", "signature": base64.b64encode(bytes(size)).decode()}
    fits = 1 <= size <= 2420
    refused = contextlib.nullcontext() if fits else pytest.raises(Unavailable, match="length")
    with replying(telling(data)) as url:
        remote = RemoteSettings(tenant_id=TENANT)
        with qpher_core.open(url, api_key=make_secret()[1], remote=remote) as service, refused:
            assert service.key_store().open_signing(key).sign(b"m") == bytes(size)


def test_entries_that_are_not_what_they_claim() -> None:
    """An altered entry, one of another place, and pages that go back are refused."""

    def entry(seq: int, body: str = "{}") -> dict[str, object]:
        return {"seq": seq, "hash": hashlib.sha256(b"{}").hexdigest(), "body": body}

    good = telling({"entries": [entry(1), entry(2)], "cursor": None})
    with replying(good) as url, connected(url, make_secret()[1]) as session:
        assert [found.seq for found in session.audit.entries(start=1)] == [1, 2]
    for data in (
        {"entries": [entry(1, "[]")], "cursor": None},
        {"entries": [entry(0)], "cursor": None},
        {"entries": [entry(2), entry(1)], "cursor": None},
        {"entries": [entry(1), entry(1)], "cursor": None},
        {"entries": [entry(1)], "cursor": 1},
        {"entries": [], "cursor": 0},
        {"entries": [], "cursor": -1},
        {"entries": [], "cursor": 2},
        {"entries": None, "cursor": None},
    ):
        with (
            replying(telling(data)) as url,
            connected(url, make_secret()[1]) as session,
            pytest.raises(Unavailable),
        ):
            list(session.audit.entries(start=1))


def test_pages_of_keys_that_never_end() -> None:
    """A page that comes again, goes back or is out of order ends the listing with an error."""

    def key(name: str, version: int = 1) -> dict[str, object]:
        return {**KEY, "name": name, "key_version": version}

    def page(keys: list[dict[str, object]]) -> Callable[[str, str, Mapping[str, str]], Answer]:
        return telling({"keys": keys, "total": len(keys)})

    good = page([key("a"), key("a", 2), key("b")])
    with replying(good) as url, connected(url, make_secret()[1]) as session:
        assert [(k.name, k.version) for k in session.keys.list()] == [("a", 1), ("a", 2), ("b", 1)]
    full = [key("a", version) for version in range(1, 501)]
    for keys in ([key("b"), key("a")], [key("a"), key("a")], full[::-1], full):
        with (
            replying(page(keys)) as url,
            connected(url, make_secret()[1]) as session,
            pytest.raises(Unavailable, match="out of order"),
        ):
            session.keys.list()


ERRORS = {
    "an empty 500": (saying(b"", 500), 1),
    "an HTML 500": (saying(b"<html>", 500), 1),
    "an internal error": (
        saying(
            b'{"error":{"error_code":"ERR_INTERNAL_001","message":"x"},"request_id":"x",'
            b'"timestamp":"x"}',
            500,
        ),
        1,
    ),
    "502": (saying(b"<html>", 502), 3),
    "503": (saying(b"<html>", 503), 3),
    "504": (saying(b"<html>", 504), 3),
    "503 for hours": (saying(b"<html>", 503, {"Retry-After": "7200"}), 1),
    "418": (saying(b"<html>", 418), 1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_servers_that_fail(name: str) -> None:
    """Typed, and repeated only where a repeat may help and there is time for it."""
    reply, attempts = ERRORS[name]
    asked: list[str] = []

    def answer(method: str, target: str, headers: Mapping[str, str]) -> Answer:
        asked.append(headers.get("idempotency-key", ""))
        return reply(method, target, headers)

    with replying(answer) as url, connected(url, make_secret()[1], attempts=3) as session:
        with pytest.raises(Unavailable) as caught:
            session.kem.encapsulate(1)
        assert not isinstance(caught.value, OutcomeUnknown)
        assert asked == [""] * attempts
        asked.clear()
        with pytest.raises(Unavailable if name == "418" else OutcomeUnknown):
            session.keys.generate(KEM)
        assert len(asked) == attempts
        assert len(set(asked)) == 1  # every repeat has the first attempt's key
        assert uuid.UUID(asked[0])


def test_unknown_errors_keep_their_kind() -> None:
    """A service that names no class is understood by code and status, as the public API is."""
    kinds = {
        400: ("ERR_KEM_005", qpher_core.DecryptionFailed),
        401: ("ERR_AUTH_001", AuthenticationError),
        403: ("ERR_FORBIDDEN_001", qpher_core.PermissionDenied),
        404: ("ERR_KMS_002", NotFound),
        409: ("ERR_KMS_003", StateConflict),
        413: ("ERR_INVALID_004", ValidationError),
        503: ("ERR_SIG_022", qpher_core.AlgorithmUnavailable),
    }
    for status, (code, kind) in kinds.items():
        body = {"error": {"error_code": code, "message": "m"}, "request_id": "", "timestamp": ""}
        reply = saying(json.dumps(body).encode(), status)
        with replying(reply) as url, connected(url, make_secret()[1], attempts=2) as session:
            with pytest.raises(QpherError) as caught:
                session.kem.encrypt(b"x")
            assert (type(caught.value), caught.value.code) == (kind, code)
