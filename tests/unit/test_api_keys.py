# SPDX-License-Identifier: Apache-2.0
"""API keys: their life, and that every refusal looks the same."""

import hashlib
import hmac
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

import qpher_core
from qpher_core import api_keys as module
from qpher_core.api_key_format import _checksum, make_secret
from qpher_core.api_keys import DEFAULT_SCOPES, SCOPES
from qpher_core.asgi.models_api_keys import Scope
from qpher_core.errors import (
    AuthenticationError,
    NotFound,
    PermissionDenied,
    QpherError,
    StoreUnavailable,
    ValidationError,
)
from qpher_core.models import RequestContext
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.world import last_entry


def refused(kms: Qpher, secret: str) -> str:
    """Return the message with which an API key is refused."""
    with pytest.raises(AuthenticationError) as refusal:
        kms.api_keys.authenticate(secret)
    assert refusal.value.code == "ERR_AUTH_001"
    return str(refusal.value)


def test_the_http_api_takes_the_same_scopes() -> None:
    """Type checkers want its list written out."""
    assert get_args(Scope) == SCOPES


def test_a_key_says_who_it_belongs_to(kms: Qpher, acme: Session) -> None:
    """The holder of a key is its tenant, with the key's scopes; the store keeps only a hash."""
    key, secret = kms.api_keys.create("acme", name="ci", scopes=("kem",))
    found = kms.api_keys.authenticate(secret)
    assert (found.key.id, found.tenant.name, found.key.scopes) == (key.id, "acme", {"kem"})
    stored = kms._store.api_keys.get(key.id)
    assert stored is not None
    assert secret[17:60] not in repr(stored)
    assert stored.secret_hash == hashlib.sha256(secret[17:60].encode()).digest()
    assert last_entry(kms) == ("api_keys.create", "success", "")


def test_default_scopes_are_not_administrative(kms: Qpher, acme: Session) -> None:
    """A key that is made without naming scopes can neither make keys nor administer."""
    key, _ = kms.api_keys.create("acme")
    assert key.scopes == set(DEFAULT_SCOPES)
    assert set(SCOPES) - key.scopes == {"api_keys", "policies", "admin"}


def test_every_refusal_looks_the_same(
    kms: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown, wrong, malformed, expired, revoked, of a suspended tenant: one message."""
    kms.tenants.create("other")
    key, secret = kms.api_keys.create("acme")
    other, _ = kms.api_keys.create("acme")
    _, expiring = kms.api_keys.create("acme", expires_in=timedelta(seconds=1))
    _, suspended = kms.api_keys.create("other")
    kms.tenants.suspend("other")
    body = f"qph_{other.id}_{secret[17:60]}"
    messages = {
        refused(kms, make_secret()[1]),
        refused(kms, body + _checksum(body)),
        refused(kms, secret[:-1]),
        refused(kms, ""),
        refused(kms, suspended),
    }
    kms.api_keys.revoke("acme", key.id)
    messages.add(refused(kms, secret))
    later = datetime.now(UTC) + timedelta(seconds=2)
    monkeypatch.setattr(kms.api_keys, "_clock", lambda: later)
    messages.add(refused(kms, expiring))
    assert messages == {"the API key is missing or not accepted"}


def test_unknown_ids_are_compared_too(
    kms: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown id, a wrong secret and a malformed key cost one comparison each, as a good one."""
    _, secret = kms.api_keys.create("acme")
    key, _ = kms.api_keys.create("acme")
    compared: list[int] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return real(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    kms.api_keys.authenticate(secret)
    body = f"qph_{key.id}_{secret[17:60]}"
    for text in (make_secret()[1], body + _checksum(body), "qph_no"):
        refused(kms, text)
    assert compared == [32] * 4


def test_rotation_revokes_at_once_or_later(
    kms: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old key ends at once, or with the overlap; the new one is the next version."""
    first, one = kms.api_keys.create("acme", name="ci", scopes=("kem",))
    second, two = kms.api_keys.rotate("acme", first.id)
    assert (second.name, second.version, second.scopes) == ("ci", 2, {"kem"})
    refused(kms, one)
    third, three = kms.api_keys.rotate("acme", second.id, overlap=timedelta(minutes=5))
    assert third.version == 3
    for secret in (two, three):
        kms.api_keys.authenticate(secret)
    later = datetime.now(UTC) + timedelta(minutes=6)
    monkeypatch.setattr(kms.api_keys, "_clock", lambda: later)
    refused(kms, two)
    kms.api_keys.authenticate(three)
    with pytest.raises(NotFound):
        kms.api_keys.rotate("acme", first.id)


def test_a_rotated_key_lives_as_long_again(kms: Qpher, acme: Session) -> None:
    """A key that expires is followed by one that does; not later than is asked for."""
    key, _ = kms.api_keys.create("acme", expires_in=timedelta(days=1))
    new, _ = kms.api_keys.rotate("acme", key.id)
    assert new.expires_at == new.created_at + timedelta(days=1)
    newer, _ = kms.api_keys.rotate("acme", new.id, latest=key.expires_at)
    assert newer.expires_at == key.expires_at
    newest, _ = kms.api_keys.rotate("acme", newer.id, latest=datetime.now(UTC) + timedelta(days=9))
    assert newest.expires_at == newest.created_at + (newer.expires_at - newer.created_at)
    wrong: Any
    for wrong in (datetime.now(), 5, "tomorrow"):  # noqa: DTZ005 - without a zone
        with pytest.raises(ValidationError) as caught:
            kms.api_keys.rotate("acme", newest.id, latest=wrong)
        assert caught.value.parameter == "latest"
    assert kms.api_keys.list("acme")[-1] == newest


def test_last_use_is_noted_once_a_minute(kms: Qpher, acme: Session) -> None:
    """The first use is written down; those that follow at once cost no write."""
    key, secret = kms.api_keys.create("acme")
    assert key.last_used_at is None
    kms.api_keys.authenticate(secret)
    used = kms.api_keys.list("acme")[0].last_used_at
    assert used is not None
    for _ in range(5):
        kms.api_keys.authenticate(secret)
    assert kms.api_keys.list("acme")[0].last_used_at == used


def test_a_use_that_cannot_be_noted_is_logged(
    kms: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Authentication does not need a store that can be written; the log says what is missing."""
    key, secret = kms.api_keys.create("acme")

    def commit(*_: object, **__: object) -> None:
        raise StoreUnavailable("read-only")

    monkeypatch.setattr(kms._store, "commit", commit)
    assert kms.api_keys.authenticate(secret).key.id == key.id
    assert key.id in caplog.text
    assert secret not in caplog.text


def test_another_tenants_key_is_missing(kms: Qpher, acme: Session) -> None:
    """Keys are revoked and rotated under their own tenant alone."""
    kms.tenants.create("other")
    key, secret = kms.api_keys.create("acme")
    for attempt in (kms.api_keys.revoke, kms.api_keys.rotate):
        with pytest.raises(NotFound):
            attempt("other", key.id)
    kms.api_keys.authenticate(secret)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scopes": ()},
        {"scopes": ("root",)},
        {"name": ""},
        {"expires_in": timedelta(0)},
        {"expires_in": 5},
        {"expires_in": timedelta(days=20 * 366)},
    ],
)
def test_bad_parameters_are_named(kms: Qpher, acme: Session, arguments: dict[str, object]) -> None:
    """What is wrong is refused with its name, and no key is made."""
    with pytest.raises(ValidationError) as refusal:
        kms.api_keys.create("acme", **arguments)  # type: ignore[arg-type]
    assert refusal.value.parameter == next(iter(arguments))
    assert kms.api_keys.list("acme") == []


def test_plans_limit_keys_and_rotation(kms: Qpher) -> None:
    """A free tenant has one valid key and cannot rotate it; a revoked one makes room."""
    kms.tenants.create("small", plan="free")
    key, _ = kms.api_keys.create("small")
    with pytest.raises(PermissionDenied, match="1 valid"):
        kms.api_keys.create("small")
    with pytest.raises(PermissionDenied, match="rotation"):
        kms.api_keys.rotate("small", key.id)
    kms.api_keys.revoke("small", key.id)
    assert kms.api_keys.create("small")[0].version == 2


def test_racing_creations_stay_within_the_limit(kms: Qpher) -> None:
    """Of sixteen at once, a free tenant gets one."""
    kms.tenants.create("small", plan="free")
    outcomes: list[str] = []

    def create() -> None:
        try:
            kms.api_keys.create("small")
        except QpherError as error:
            outcomes.append(error.code)
        else:
            outcomes.append("made")

    threads = [threading.Thread(target=create) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ERR_FORBIDDEN_001"] * 15 + ["made"]


@pytest.mark.parametrize(
    ("scopes", "tenant", "allowed"),
    [
        ({"api_keys"}, "acme", True),
        ({"api_keys"}, "other", False),
        ({"admin"}, "acme", True),
        ({"admin"}, "other", True),
        ({"kem", "keys"}, "acme", False),
    ],
)
def test_remote_callers_need_a_scope(
    kms: Qpher, acme: Session, scopes: set[str], tenant: str, *, allowed: bool
) -> None:
    """A tenant manages its own keys, an administrator those of all; a refusal is recorded."""
    kms.tenants.create("other")
    caller = RequestContext(kms.tenants.get("acme").id, "key:x", frozenset(scopes))
    if allowed:
        kms.api_keys.create(tenant, actor=caller)
        assert last_entry(kms, tenant) == ("api_keys.create", "success", "")
    else:
        with pytest.raises(PermissionDenied, match="scope"):
            kms.api_keys.create(tenant, actor=caller)
        assert kms.api_keys.list(tenant) == []
        action, outcome, reason = last_entry(kms)
        assert (action, outcome) == ("api_keys.create", "denied")
        assert reason.startswith("ERR_FORBIDDEN_001")


def test_policy_is_asked_for_remote_callers(kms: Qpher, acme: Session) -> None:
    """A rule that denies an administrator's action stops it; the holder himself is not asked."""
    kms.policies.set('[{"rule": "deny", "actions": ["tenants.create"]}]', tenant="acme")
    caller = RequestContext(kms.tenants.get("acme").id, "key:x", frozenset({"admin"}))
    with pytest.raises(PermissionDenied):
        kms.tenants.create("new", actor=caller)
    kms.tenants.create("new")


def test_keys_outlive_the_process(tmp_path: object) -> None:
    """A key made by one opening is accepted by the next, and its revocation too."""
    url = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        key, secret = kms.api_keys.create("acme")
    with qpher_core.open(url) as kms:
        kms.api_keys.authenticate(secret)
        kms.api_keys.revoke("acme", key.id)
    with qpher_core.open(url) as kms:
        refused(kms, secret)
