# SPDX-License-Identifier: Apache-2.0
"""The parts of a service elsewhere, each alone, and the tables behind them."""

import hashlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

import qpher_core
from qpher_backends.remote import Service
from qpher_backends.remote.failures import error_of
from qpher_backends.remote.link import endpoint_of
from qpher_backends.remote.runner import _BATCHES, _OPERATIONS
from qpher_core import errors, verify_proof
from qpher_core.asgi.envelope import ErrorBody, error_body
from qpher_core.audit.entry import EntryDraft
from qpher_core.calls import Call
from qpher_core.discovery import open_store
from qpher_core.errors import (
    AuditUnavailable,
    DecryptionFailed,
    IntegrityError,
    PermissionDenied,
    QpherError,
    StoreUnavailable,
)
from qpher_core.lifecycle import KeyState
from qpher_core.models import Decision, KeyRef, PolicyRequest
from qpher_core.operations import OPERATIONS, Recording
from qpher_core.service import Qpher
from tests.contract.served import quiet_key
from tests.http.server import serving
from tests.unit.test_operations import SESSION_METHODS

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"


@pytest.fixture
def kms() -> Iterator[Qpher]:
    """Open a service with a tenant and two keys."""
    with qpher_core.open("memory:") as opened:
        opened.tenants.create("acme")
        session = opened.session("acme", actor="before")
        for algorithm in (KEM, SIGNATURE):
            session.keys.generate(algorithm)
        yield opened


@pytest.fixture
def remote(kms: Qpher) -> Iterator[Service]:
    """Connect to it."""
    from qpher_core.asgi import create_app  # noqa: PLC0415 - as an application loads it

    with (
        serving(create_app(kms)) as url,
        qpher_core.open(url, api_key=quiet_key(kms, "acme", "remote")) as service,
    ):
        assert isinstance(service, Service)
        yield service


# --- tables ------------------------------------------------------------------------------------


def test_every_recorded_operation_of_a_session_has_its_endpoint() -> None:
    """What a session does is either read, or in the runner's table, or a change of a key."""
    for action, _ in SESSION_METHODS.values():
        if OPERATIONS[action].recording is Recording.REFUSALS:
            continue
        if action.startswith("keys."):
            path = f"/kms/keys/{action.partition('.')[2]}"
        else:
            path = _OPERATIONS[action][0]
        endpoint = endpoint_of("POST", path)
        assert endpoint.operations == (action,)
        assert endpoint.changes == action.startswith("keys.")
    for action, path in _BATCHES.items():
        assert endpoint_of("POST", path).operations == (action,)


def _examples() -> Iterator[QpherError]:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if kind is QpherError:
            continue
        if kind is DecryptionFailed:
            yield kind()
        elif kind is PermissionDenied:
            yield kind("no", rule="plan", parameter="algorithm", code="ERR_FORBIDDEN_001")
        else:
            yield kind("why", parameter="name")
            yield kind("why", code="ERR_KEM_001")


def test_every_error_survives_the_way() -> None:
    """Class, code, message, parameter and rule come out as they went in."""
    for error in _examples():
        again = error_of(error_body(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_unexplained_errors_are_unavailable() -> None:
    """What the service does not explain says nothing about its cause."""
    again = error_of(ErrorBody("ERR_INTERNAL_001", "unexpected"), 500)
    assert type(again) is errors.Unavailable
    again = error_of(ErrorBody("ERR_NEW_001", "m", type="OfTheFuture"), 404)
    assert type(again) is errors.NotFound


def test_clients_need_no_server_packages() -> None:
    """The extra ``remote`` alone is enough: nothing of the server's framework is imported."""
    program = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'limits', 'prometheus_client', 'httptools'):\n"
        "    sys.modules[name] = None\n"
        "import qpher_core, qpher_core.api_key_format\n"
        "key = qpher_core.api_key_format.make_secret()[1]\n"
        "qpher_core.open('https://kms.example', api_key=key).close()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- the key store alone -----------------------------------------------------------------------


def test_keys_are_found(kms: Qpher, remote: Service) -> None:
    """As the service has them; those of others, and missing ones, are none."""
    keys, own = remote.key_store(), kms.session("acme", actor="x").keys
    expected = own.get(KEM, 1)
    tenant_id = expected.ref.tenant_id
    assert keys.get(expected.ref) == keys.active(tenant_id, "default", KEM) == expected
    assert list(keys.find(tenant_id)) == list(own.list())
    assert keys.get(evolve(expected.ref, version=2)) is None
    assert keys.get(evolve(expected.ref, tenant_id=uuid.uuid4())) is None
    assert keys.active(uuid.uuid4(), "default", KEM) is None
    assert keys.find(uuid.uuid4()) == []


def test_long_lists_come_in_pages(kms: Qpher, remote: Service) -> None:
    """A list of any length is whole and in order, whatever the limit."""
    own = kms.session("acme", actor="x").keys
    for _ in range(7):
        own.rotate(SIGNATURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qpher_backends.remote.keystore._PAGE", 3)
        keys = remote.session().keys
        assert list(keys.list()) == list(own.list())
        assert list(keys.list(limit=4)) == list(own.list(limit=4))
        assert list(keys.list(state="retired")) == list(own.list(state="retired"))
        after = own.list()[4]
        assert list(keys.list(after=after)) == list(own.list(after=after))


def test_private_keys_are_used_where_they_are(kms: Qpher, remote: Service) -> None:
    """Decapsulating and signing happen there, the public side here; nothing exports a key."""
    keys = remote.key_store()
    tenant_id = kms.tenants.get("acme").id
    kem, signature = (
        keys.get(KeyRef(tenant_id, "default", algorithm, 1)) for algorithm in (KEM, SIGNATURE)
    )
    assert kem is not None
    assert signature is not None
    before = kms.audit.verify("acme").entries
    sent = keys.open_encapsulation(kem).encapsulate_many(3)
    opened = keys.open_decapsulation(kem)
    assert opened.decapsulate(sent[0][0]) == sent[0][1]
    assert opened.decapsulate_many([c for c, _ in sent]) == [s for _, s in sent]
    with pytest.raises(ValueError, match="1088"):
        opened.decapsulate(b"short")
    signing, verifying = keys.open_signing(signature), keys.open_verification(signature)
    digest = hashlib.sha512(b"m").digest()
    assert verifying.verify(b"m", signing.sign(b"m", context=b"c"), context=b"c")
    assert verifying.verify_prehash(digest, "SHA-512", signing.sign_prehash(digest, "SHA-512"))
    both = signing.sign_many([b"m", b"n"])
    assert verifying.verify_many([(b"m", both[0]), (b"n", both[1])]) == [True, True]
    assert signing.sign(b"m", deterministic=True) == signing.sign(b"m", deterministic=True)
    assert signing.public_key == signature.public_key
    assert opened.encapsulation_key == kem.public_key
    for key in (opened, signing):
        key.close()
        assert "<" in repr(key)
    assert kms.audit.verify("acme").entries == before + 10


def test_batches_beyond_one_request_are_several(kms: Qpher, remote: Service) -> None:
    """A key elsewhere takes as many items as one here, in order; none are no request."""
    keys, tenant_id = remote.key_store(), kms.tenants.get("acme").id
    kem, signature = (keys.active(tenant_id, "default", name) for name in (KEM, SIGNATURE))
    assert kem is not None
    assert signature is not None
    sent = keys.open_encapsulation(kem).encapsulate_many(1001)
    opened, signing = keys.open_decapsulation(kem), keys.open_signing(signature)
    before = kms.audit.verify("acme").entries
    assert opened.decapsulate_many([c for c, _ in sent]) == [s for _, s in sent]
    messages = [f"{number}".encode() for number in range(1001)]
    pairs = list(zip(messages, signing.sign_many(messages), strict=True))
    assert all(keys.open_verification(signature).verify_many(pairs))
    assert kms.audit.verify("acme").entries == before + 2002
    assert signing.sign_many([]) == opened.decapsulate_many([]) == []
    large = [bytes(1 << 20)] * 18  # more bytes than a request may have
    assert len(signing.sign_many(large)) == 18
    assert kms.audit.verify("acme").entries == before + 2020


def test_changes_are_refused(kms: Qpher, remote: Service) -> None:
    """A key store elsewhere does not pretend that a transaction here covers it."""
    keys = remote.key_store()
    tenant_id = kms.tenants.get("acme").id
    key = keys.active(tenant_id, "default", KEM)
    assert key is not None
    now = datetime.now(UTC)
    store = open_store("memory:", parameter="url")
    for attempt in (
        lambda: keys.prepare(tenant_id, KEM),
        lambda: keys.prepare_import(tenant_id, "default", KEM, b""),
        lambda: store.commit(lambda w: keys.add(w, tenant_id, "x", key, now=now)),
        lambda: store.commit(
            lambda w: keys.transition(w, key, KeyState.RETIRED, now=now, reason="")
        ),
    ):
        with pytest.raises(StoreUnavailable, match="session of that service"):
            attempt()
    assert kms.session("acme", actor="x").keys.active(KEM) == key


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Qpher]:
    """Open a service of this side, with a tenant whose keys are elsewhere."""
    with qpher_core.open(f"sqlite:///{tmp_path}/here.db") as opened:
        opened.tenants.create("branch")
        yield opened


def test_keys_there_policy_and_log_here(kms: Qpher, remote: Service, here: Qpher) -> None:
    """As with an HSM: this side decides and records, the other keeps, uses and records, too."""
    owner = here.tenants.get("branch")
    session = here.session("branch", actor="clerk", keys=remote.key_store(tenant_id=owner.id))
    there = kms.session("acme", actor="x")
    before = kms.audit.verify("acme").entries
    box = session.kem.encrypt(b"x", context={"a": "b"})
    assert session.kem.decrypt(box.ciphertext, 1, context={"a": "b"}).plaintext == b"x"
    signed = session.signatures.sign(b"m", algorithm=SIGNATURE)
    assert session.signatures.verify(b"m", signed.signature, 1, SIGNATURE).valid
    assert there.signatures.verify(b"m", signed.signature, 1, SIGNATURE).valid
    assert [(e.fields["action"], e.fields["actor"]) for e in session.audit.entries()][1:] == [
        (action, "clerk")
        for action in ("kem.encrypt", "kem.decrypt", "signatures.sign", "signatures.verify")
    ]
    assert kms.audit.verify("acme").entries == before + 3
    there.keys.suspend(KEM, 1)
    with pytest.raises(errors.StateConflict):
        session.kem.encrypt(b"x", 1)
    with pytest.raises(StoreUnavailable, match="session of that service"):
        session.keys.generate(KEM)
    assert here.audit.verify("branch").ok


def test_a_batch_stops_where_its_key_cannot_be_used(
    kms: Qpher, remote: Service, here: Qpher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key store that cannot answer is no fault of the items: the call is refused, once."""
    owner = here.tenants.get("branch")
    session = here.session("branch", actor="clerk", keys=remote.key_store(tenant_id=owner.id))
    boxes = [session.kem.encrypt(bytes([number])).ciphertext for number in range(3)]
    before, decide = here.audit.verify("branch").entries, kms._policy.decide

    def broken(request: PolicyRequest) -> Decision:
        if request.action == "kem.decapsulate":
            raise OSError("the disk of the policies is gone")
        return decide(request)

    monkeypatch.setattr(kms._policy, "decide", broken)
    with pytest.raises(errors.Unavailable):
        session.kem.decrypt_many(boxes, 1)
    assert here.audit.verify("branch").entries == before + 1


def test_nothing_is_used_there_that_this_side_refuses(
    kms: Qpher, remote: Service, here: Qpher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Policy here is asked first; a log here that cannot record lets nothing out."""
    owner = here.tenants.get("branch")
    session = here.session("branch", actor="clerk", keys=remote.key_store(tenant_id=owner.id))
    here.policies.set('[{"rule": "deny", "actions": ["kem.decrypt"]}]', tenant="branch")
    box = session.kem.encrypt(b"x")
    before = kms.audit.verify("acme").entries
    with pytest.raises(errors.PermissionDenied):
        session.kem.decrypt(box.ciphertext, 1)
    assert kms.audit.verify("acme").entries == before

    def commit(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(here._store, "commit", commit)
        with pytest.raises(AuditUnavailable):
            session.signatures.sign(b"m", algorithm=SIGNATURE)
    remote.close()
    assert here.audit.verify("branch").ok


# --- the audit log alone -----------------------------------------------------------------------


def test_the_log_is_read_and_proved(kms: Qpher, remote: Service) -> None:
    """Entries, proofs and keys of anchors are those of the service; a proof verifies offline."""
    own, audit = kms.session("acme", actor="x"), remote.audit_log()
    signed = own.signatures.sign(b"m", algorithm=SIGNATURE)
    tenant_id = signed.receipt.tenant_id
    assert list(audit.entries(tenant_id)) == list(own.audit.entries())
    assert list(audit.entries(uuid.uuid4())) == []
    entry = audit.entry(signed.receipt)
    proof = str(audit.proof(entry))
    verified = verify_proof(proof, entry, signed.signature, remote.anchor_keys())
    assert verified.fields["action"] == "signatures.sign"
    assert set(remote.anchor_keys()) == set(kms.anchors.keys())
    assert audit.verify(tenant_id) == own.audit.verify()
    with pytest.raises(IntegrityError):
        audit.entry(evolve(signed.receipt, tenant_id=uuid.uuid4()))


def test_long_logs_come_in_pages(kms: Qpher, remote: Service) -> None:
    """A log of any length is read whole, in order; a limit is kept."""
    own = kms.session("acme", actor="x")
    own.kem.encapsulate_many(25)
    tenant_id = kms.tenants.get("acme").id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qpher_backends.remote.audit._PAGE", 4)
        audit = remote.audit_log()
        assert list(audit.entries(tenant_id)) == list(own.audit.entries())
        for limit in (0, 1, 4, 5, 11, 100):
            found = list(audit.entries(tenant_id, start=2, limit=limit))
            assert found == list(own.audit.entries(start=2, limit=limit))


def test_nothing_is_appended(remote: Service) -> None:
    """Entries of another service are made by its operations."""
    draft = EntryDraft("a", "kem.encrypt", None, "success", "", str(uuid.uuid4()), None, None)
    store = open_store("memory:", parameter="url")
    with pytest.raises(AuditUnavailable):
        store.commit(lambda w: remote.audit_log().append(w.audit, uuid.uuid4(), draft))


def test_usage_is_that_of_the_service(kms: Qpher, remote: Service) -> None:
    """With and without a plan."""
    for plan in (None, "pro", "free"):
        kms.tenants.set_plan("acme", plan)
        expected = kms.usage_of("acme")
        assert remote.session().usage.current() == expected


def test_runners_keep_reads_and_changes_apart(remote: Service) -> None:
    """A read that would change something is a mistake of the library."""
    session = remote.session()
    call = Call(operation=OPERATIONS["keys.list"], execute=lambda: lambda _: None)
    with pytest.raises(TypeError, match="must not change"):
        session.keys._pipeline.read(session._context, call)
