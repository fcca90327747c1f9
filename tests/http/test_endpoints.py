# SPDX-License-Identifier: Apache-2.0
"""Endpoints beyond those of the SDK: what they answer is what the library gives."""

import base64
import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import qpher_core
from qpher_core.api_keys import SCOPES
from qpher_core.audit.vkey import parse_vkeys
from qpher_core.discovery import open_primitives
from qpher_core.importing import wrap_private_key
from qpher_core.models import ImportParameters
from qpher_core.service import Qpher
from tests.http.server import client


def b64(data: bytes) -> str:
    """Return base64."""
    return base64.b64encode(data).decode()


def raw(text: str) -> bytes:
    """Decode base64."""
    return base64.b64decode(text, validate=True)


def data(answer: httpx.Response, status: int = 200) -> Any:
    """Return the data of an answer."""
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def post(http: httpx.Client, path: str, *, status: int = 200, **body: Any) -> Any:
    """Post a body and return the data of the answer."""
    return data(http.post(path, json=body), status)


@pytest.fixture
def keys(http: httpx.Client) -> httpx.Client:
    """Return the client of a tenant with a KEM key and a signature key."""
    for algorithm in ("Kyber768", "Dilithium3"):
        post(http, "/kms/keys/generate", algorithm=algorithm, status=201)
    return http


@pytest.fixture
def admin(kms: Qpher, base: str) -> Iterator[httpx.Client]:
    """Return the client of an administrator of another tenant."""
    kms.tenants.create("operators")
    with client(base, kms.api_keys.create("operators", scopes=SCOPES)[1]) as opened:
        yield opened


# --- keys --------------------------------------------------------------------------------------


def test_a_key_goes_through_its_life(keys: httpx.Client) -> None:
    """Each transition has its endpoint; what the state forbids is 409."""
    chosen = {"algorithm": "ML-KEM-768", "key_version": 1}
    for action, status in (
        ("suspend", "suspended"),
        ("resume", "active"),
        ("retire", "retired"),
        ("archive", "archived"),
        ("restore", "retired"),
        ("compromise", "compromised"),
        ("destroy", "destroyed"),
    ):
        moved = post(keys, f"/kms/keys/{action}", **chosen, reason="a test")
        assert (moved["status"], moved["reason"]) == (status, "a test")
    answer = keys.post("/kms/keys/restore", json=chosen)
    assert (answer.status_code, answer.json()["error"]["error_code"]) == (409, "ERR_KMS_003")


def test_names_and_pages(keys: httpx.Client) -> None:
    """Keys have names; lists are read in pages that neither overlap nor leave gaps."""
    for name in ("a", "b", "c"):
        post(keys, "/kms/keys/generate", algorithm="X-Wing", name=name, status=201)
    found, after = [], {}
    while True:
        page = data(keys.get("/kms/keys", params={"limit": 2, **after}))["keys"]
        if not page:
            break
        found += page
        last = page[-1]
        after = {
            "after_name": last["name"],
            "after_algorithm": last["algorithm"],
            "after_version": last["key_version"],
        }
    assert found == data(keys.get("/kms/keys"))["keys"]
    assert len(found) == 5
    assert keys.get("/kms/keys", params={"after_name": "a"}).status_code == 400
    named = data(keys.get("/kms/keys", params={"name": "b"}))["keys"]
    assert [key["name"] for key in named] == ["b"]


def test_public_keys_are_read_by_others(keys: httpx.Client) -> None:
    """The PEM loads in OpenSSL, the JWK has the same key."""
    found = data(keys.get("/kms/keys/1/public", params={"algorithm": "Dilithium3"}))
    loaded = load_pem_public_key(found["pem"].encode())
    active = data(keys.get("/kms/keys/active", params={"algorithm": "Dilithium3"}))
    assert loaded.public_bytes_raw() == raw(active["public_key"])  # type: ignore[union-attr]
    padded = found["jwk"]["pub"] + "=" * (-len(found["jwk"]["pub"]) % 4)
    assert base64.urlsafe_b64decode(padded) == raw(active["public_key"])
    assert found["jwk"]["alg"] == "ML-DSA-65"


def test_a_wrapped_seed_is_imported(http: httpx.Client) -> None:
    """A seed that is wrapped to the import key gives its key; another wrapping is refused."""
    seed = hashlib.sha512(b"x").digest()
    found = data(http.get("/kms/keys/import/parameters"))
    parameters = ImportParameters(
        uuid.UUID(found["tenant_id"]),
        found["algorithm"],
        found["key_version"],
        raw(found["encapsulation_key"]),
    )
    wrapped = wrap_private_key(parameters, seed, algorithm="ML-KEM-768")
    made = post(http, "/kms/keys/import", algorithm="Kyber768", wrapped=b64(wrapped), status=201)
    key = open_primitives(None).kems["ML-KEM-768"].open_seed(seed)
    assert raw(made["public_key"]) == key.encapsulation_key
    key.close()
    wrong = {"algorithm": "Kyber768", "wrapped": b64(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))}
    assert http.post("/kms/keys/import", json=wrong).status_code in {400, 422}


# --- KEM and signatures ------------------------------------------------------------------------


def test_context_is_bound(keys: httpx.Client) -> None:
    """A ciphertext, wrapped key or signature goes with its context alone."""
    bound = {"context": {"table": "cards"}, "key_version": 1}
    box = post(keys, "/kem/encrypt", plaintext=b64(b"x"), **bound)["ciphertext"]
    assert raw(post(keys, "/kem/decrypt", ciphertext=box, **bound)["plaintext"]) == b"x"
    answer = keys.post("/kem/decrypt", json={"ciphertext": box, "key_version": 1})
    assert answer.json()["error"]["error_code"] == "ERR_KEM_005"
    message = {"message": b64(b"x"), "key_version": 1}
    for context in ({"context": {"a": "b"}}, {"context_string": b64(b"FIPS 204")}):
        signature = post(keys, "/signature/sign", **message, **context)["signature"]
        checked = {**message, "signature": signature}
        assert post(keys, "/signature/verify", **checked, **context)["valid"]
        assert not post(keys, "/signature/verify", **checked)["valid"]
    both = {**message, "context": {"a": "b"}, "context_string": b64(b"x")}
    assert keys.post("/signature/sign", json=both).status_code == 400


def test_wrapped_keys_move_to_a_new_version(keys: httpx.Client) -> None:
    """Rewrapping gives the same key under the active version, without showing it."""
    secret = b64(bytes(range(32)))
    wrapped = post(keys, "/kem/wrap", symmetric_key=secret)
    assert wrapped["key_version"] == 1
    post(keys, "/kms/keys/rotate", algorithm="Kyber768")
    again = post(keys, "/kem/rewrap", wrapped_key=wrapped["wrapped_key"], key_version=1)
    assert again["key_version"] == 2
    assert secret not in json.dumps(again)
    opened = post(keys, "/kem/unwrap", wrapped_key=again["wrapped_key"], key_version=2)
    assert opened["symmetric_key"] == secret


def test_file_keys(keys: httpx.Client) -> None:
    """A file key is wrapped for the caller, who alone sees the file."""
    file_key = b64(bytes(range(32)))
    wrapped = post(keys, "/kem/file-key/wrap", file_key=file_key)
    opened = post(keys, "/kem/file-key/unwrap", recipients=[wrapped["wrapped_key"]], key_version=1)
    assert opened["file_key"] == file_key


def test_compromised_keys_need_to_be_accepted(keys: httpx.Client) -> None:
    """A compromised key decrypts only for those who say that they know."""
    box = post(keys, "/kem/encrypt", plaintext=b64(b"x"))["ciphertext"]
    post(keys, "/kms/keys/compromise", algorithm="Kyber768", key_version=1)
    body = {"ciphertext": box, "key_version": 1}
    assert keys.post("/kem/decrypt", json=body).status_code == 409
    assert raw(post(keys, "/kem/decrypt", **body, accept_compromised=True)["plaintext"]) == b"x"


# --- batches -----------------------------------------------------------------------------------


def test_batches_answer_each_item(keys: httpx.Client) -> None:
    """Every item has a result or an error of its own, in order, and an entry in the log."""
    messages = [b64(bytes([number])) for number in range(5)]
    signed = post(keys, "/batch/sign", messages=messages)["items"]
    pairs = [
        {"message": message, "signature": item["result"]["signature"]}
        for message, item in zip(messages, signed, strict=True)
    ]
    pairs[2]["message"] = messages[3]
    verified = post(keys, "/batch/verify", pairs=pairs, key_version=1)["items"]
    assert [item["result"]["valid"] for item in verified] == [True, True, False, True, True]
    boxes = post(keys, "/batch/encrypt", plaintexts=messages)["items"]
    ciphertexts = [item["result"]["ciphertext"] for item in boxes]
    ciphertexts[1] = b64(b"no ciphertext")
    opened = post(keys, "/batch/decrypt", ciphertexts=ciphertexts, key_version=1)["items"]
    assert [item["error"] and item["error"]["error_code"] for item in opened] == [
        None,
        "ERR_KEM_005",
        None,
        None,
        None,
    ]
    assert opened[4]["result"]["plaintext"] == messages[4]
    sent = post(keys, "/batch/encapsulate", count=3)["items"]
    got = post(
        keys,
        "/batch/decapsulate",
        kem_ciphertexts=[item["result"]["kem_ciphertext"] for item in sent],
        key_version=1,
    )["items"]
    assert [i["result"]["shared_secret"] for i in got] == [
        i["result"]["shared_secret"] for i in sent
    ]
    receipts = [item["result"]["receipt"]["seq"] for item in signed]
    assert receipts == list(range(receipts[0], receipts[0] + 5))


def test_batches_have_a_limit(keys: httpx.Client) -> None:
    """More items than allowed, or none, are refused."""
    for count in (0, 1001):
        assert keys.post("/batch/encapsulate", json={"count": count}).status_code == 422
        body = {"messages": [b64(b"x")] * count}
        assert keys.post("/batch/sign", json=body).status_code == 422


# --- audit -------------------------------------------------------------------------------------


def test_entries_are_filtered_and_read_in_pages(keys: httpx.Client) -> None:
    """Pages follow each other by their cursors; filters choose."""
    for _ in range(5):
        post(keys, "/kem/encapsulate")
    found, cursor = [], 0
    while cursor is not None:
        page = data(keys.get("/audit/entries", params={"limit": 3, "cursor": cursor}))
        found += page["entries"]
        cursor = page["cursor"]
    assert [entry["seq"] for entry in found] == list(range(len(found)))
    for entry in found:
        assert hashlib.sha256(entry["body"].encode()).hexdigest() == entry["hash"]
    chosen = data(keys.get("/audit/entries", params={"action": "kem.encapsulate"}))["entries"]
    assert len(chosen) == 5
    wanted = {"algorithm": "Dilithium3", "since": "2020-01-01T00:00:00Z", "outcome": "success"}
    assert len(data(keys.get("/audit/entries", params=wanted))["entries"]) == 1
    naive = keys.get("/audit/entries", params={"since": "2020-01-01T00:00:00"})
    assert naive.status_code == 422


def test_a_receipt_is_proved_offline(keys: httpx.Client, base: str) -> None:
    """The proof of an operation's entry verifies with the public anchor keys alone."""
    signed = post(keys, "/signature/sign", message=b64(b"x"))
    receipt = signed["receipt"]
    proved = data(keys.get(f"/audit/entries/{receipt['seq']}/proof"))
    assert proved["entry"]["hash"] == receipt["hash"]
    public = data(httpx.get(f"{base}/api/v1/anchors/key"))
    trusted = parse_vkeys("\n".join(public["keys"]))
    body = proved["entry"]["body"].encode()
    verified = qpher_core.verify_proof(proved["proof"], body, raw(signed["signature"]), trusted)
    assert verified.fields["action"] == "signatures.sign"
    assert data(keys.get(f"/audit/entries/{receipt['seq']}")) == proved["entry"]
    assert keys.get("/audit/entries/9999/proof").status_code == 404


def test_an_export_verifies_elsewhere(keys: httpx.Client, base: str, tmp_path: Path) -> None:
    """The streamed export is whole, and verifies with the anchor keys."""
    post(keys, "/batch/encapsulate", count=300)
    answer = keys.get("/audit/export")
    assert answer.headers["content-type"] == "application/jsonl"
    file = tmp_path / "log.jsonl"
    file.write_bytes(answer.content)
    public = data(httpx.get(f"{base}/api/v1/anchors/key"))
    report = qpher_core.verify_export(file, parse_vkeys("\n".join(public["keys"])))
    assert report.ok
    assert report.entries > 300
    anchors = data(keys.get("/audit/anchors"))["anchors"]
    assert anchors[-1] == data(keys.get("/audit/anchors/latest"))
    assert anchors[-1]["note"] in [
        json.loads(line).get("anchor") for line in answer.text.splitlines()
    ]
    verified = data(keys.get("/audit/verify"))
    assert verified["ok"]
    assert verified["entries"] == report.entries


# --- administration ----------------------------------------------------------------------------


def test_an_administrator_runs_the_service(
    kms: Qpher, base: str, admin: httpx.Client, keys: httpx.Client
) -> None:
    """Tenants, API keys, policies, usage and KEKs, over HTTP alone."""
    made = post(admin, "/admin/tenants", name="new", plan="starter", status=201)
    assert made["plan"] == "starter"
    assert admin.post("/admin/tenants", json={"name": "new"}).status_code == 409
    url = f"/admin/tenants/{made['id']}"
    first = post(admin, f"{url}/api-keys", name="ci", scopes=["kem", "keys"], status=201)
    with client(base, first["api_key"]) as new:
        post(new, "/kms/keys/generate", algorithm="Kyber768", status=201)
        rules = json.dumps([{"rule": "deny", "actions": ["kem.encapsulate"]}])
        put = admin.put(f"{url}/policy", json={"rules": rules})
        assert data(put) == {"revision": 1, "rules": rules} == data(admin.get(f"{url}/policy"))
        assert new.post("/kem/encapsulate", json={}).status_code == 403
        bad = admin.put(f"{url}/policy", json={"rules": "[{}]"})
        assert bad.status_code == 422
        used = data(admin.get("/admin/usage", params={"tenant_id": made["id"]}))["tenants"]
        assert used[0]["usage"]["kem_keys"] == 1
        assert used[0]["limits"] == {"api_calls": -1, "kem_keys": -1, "sig_keys": -1, "api_keys": 3}
        second = post(admin, f"{url}/api-keys/{first['id']}/rotate", overlap_seconds=60)
        assert new.get("/kms/keys").status_code == 200
        revoked = data(admin.post(f"{url}/api-keys/{first['id']}/revoke"))
        assert revoked["valid"] is False
        assert new.get("/kms/keys").status_code == 401
    with client(base, second["api_key"]) as new:
        assert new.get("/kms/keys").status_code == 200
        changed = admin.patch(url, json={"status": "suspended"})
        assert data(changed)["status"] == "suspended"
        assert new.get("/kms/keys").status_code == 401
        assert data(admin.patch(url, json={"status": "active", "plan": None}))["plan"] is None
        assert new.get("/kms/keys").status_code == 200
    listed = data(admin.get(f"{url}/api-keys"))["api_keys"]
    assert [key["version"] for key in listed] == [1, 2]
    assert "api_key" not in listed[0]
    assert data(admin.get("/admin/tenants"))["total"] == 3
    assert len(data(admin.get("/admin/usage"))["tenants"]) == 3
    assert data(admin.post("/admin/protector/rewrap"))["damaged"] == []
    service = data(admin.get("/admin/tenants/service/policy"))
    assert json.loads(service["rules"])[0] == {"rule": "plan"}
    assert kms.audit.verify("new").ok
    actors = {e.fields["actor"] for e in kms._store.audit.read(kms.tenants.get("new").id)}
    assert any(actor.startswith("key:") for actor in actors)


def test_a_tenant_manages_its_own_api_keys(kms: Qpher, base: str) -> None:
    """With the scope ``api_keys``: own keys, never with more than the maker has."""
    tenant_id = kms.tenants.get("acme").id
    key = kms.api_keys.create("acme", scopes=("kem", "api_keys"))[1]
    with client(base, key) as http:
        url = f"/tenants/{tenant_id}/api-keys"
        made = post(http, url, name="ci", status=201)
        assert made["scopes"] == ["kem"]
        more = http.post(url, json={"name": "more", "scopes": ["kem", "audit"]})
        assert (more.status_code, more.json()["error"]["error_code"]) == (403, "ERR_FORBIDDEN_001")
        rotated = post(http, f"{url}/rotate", name="ci")
        assert rotated["version"] == 2
        assert http.post(f"{url}/rotate").status_code == 409  # of several names
        assert http.post("/tenants", json={"name": "x"}).status_code == 403
        assert data(http.get(f"/tenants/{tenant_id}"))["name"] == "acme"
        other = kms.tenants.create("other")
        assert http.get(f"/tenants/{other.id}").status_code == 403
        assert http.post(f"/tenants/{other.id}/api-keys", json={}).status_code == 403


def test_a_key_that_ends_makes_none_that_lasts(kms: Qpher, base: str) -> None:
    """Who holds a key for a day cannot make one that outlives it."""
    tenant_id = kms.tenants.get("acme").id
    scopes = ("kem", "api_keys")
    mine, secret = kms.api_keys.create("acme", scopes=scopes, expires_in=timedelta(days=1))
    with client(base, secret) as http:
        for body in ({}, {"expires_in_seconds": 10 * 86_400}):
            made = post(http, f"/tenants/{tenant_id}/api-keys", **body, status=201)
            assert made["expires_at"] is not None
            assert made["expires_at"][:16] <= mine.expires_at.isoformat()[:16]  # type: ignore[union-attr]


def test_nobody_rotates_a_key_that_may_do_more_or_lives_longer(kms: Qpher, base: str) -> None:
    """With the scope ``api_keys`` nobody gets the successor of an administrator's or lasting key.

    The key is not revoked either; one's own can be replaced.
    """
    url = f"/tenants/{kms.tenants.get('acme').id}/api-keys/rotate"
    root = kms.api_keys.create("acme", name="root", scopes=("admin",))[1]
    kms.api_keys.create("acme", name="lasting", scopes=("kem",))
    secret = kms.api_keys.create(
        "acme", name="clerk", scopes=("kem", "api_keys"), expires_in=timedelta(days=1)
    )[1]
    with client(base, secret) as http:
        for name in ("root", "lasting"):
            answer = http.post(url, json={"name": name})
            assert (answer.status_code, answer.json()["error"]["rule"]) == (403, "scope")
        assert post(http, url, name="clerk")["scopes"] == ["api_keys", "kem"]
    assert len(kms.api_keys.list("acme")) == 4
    with client(base, root) as admin:
        assert post(admin, url, name="lasting")["expires_at"] is None


def test_nobody_prolongs_their_own_key(kms: Qpher, base: str) -> None:
    """Its successor ends when it ends, however often it is replaced; an administrator's renews."""
    keys = f"/tenants/{kms.tenants.get('acme').id}/api-keys"
    day = timedelta(days=1)
    for scopes in (("api_keys",), ("admin",)):
        name = scopes[0]
        key, secret = kms.api_keys.create("acme", name=name, scopes=scopes, expires_in=day)
        assert key.expires_at is not None
        for overlap in (0, 60):
            with client(base, secret) as http:
                made = post(http, f"{keys}/rotate", name=name, overlap_seconds=overlap)
            secret = made["api_key"]
            ends = datetime.fromisoformat(made["expires_at"])
            assert (ends > key.expires_at) is (name == "admin")
            assert ends >= key.expires_at


def test_the_same_ciphertext_error_for_every_cause(keys: httpx.Client) -> None:
    """Altered, truncated, of another kind: one answer but for its id and time."""
    box = raw(post(keys, "/kem/encrypt", plaintext=b64(b"x"))["ciphertext"])
    wrapped = raw(post(keys, "/kem/wrap", symmetric_key=b64(bytes(16)))["wrapped_key"])
    seen = set()
    for wrong in (box[:-1], box[:40], wrapped, bytes([box[0] ^ 1]) + box[1:], b""):
        answer = keys.post("/kem/decrypt", json={"ciphertext": b64(wrong), "key_version": 1})
        seen.add((answer.status_code, json.dumps(answer.json()["error"])))
    assert len(seen) == 1
