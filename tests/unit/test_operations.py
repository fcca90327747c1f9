# SPDX-License-Identifier: Apache-2.0
"""Every public method goes through the pipeline once, with its own row of the table."""

import hashlib
import inspect
import io
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import qpher_core
from qpher_core.algorithms import ALGORITHMS, Kind
from qpher_core.calls import Call, Effect, KeyCall, KeySelector
from qpher_core.discovery import open_primitives
from qpher_core.envelopes import EncryptedEnvelope
from qpher_core.errors import PermissionDenied
from qpher_core.file_header import read_header
from qpher_core.key_usage import OF_MIGRATIONS
from qpher_core.lifecycle import PROCESS, PROTECT, KeyState
from qpher_core.models import ApiKey, Receipt, RequestContext
from qpher_core.operations import OPERATIONS, Operation, Recording
from qpher_core.pipeline import Pipeline
from qpher_core.recipients import PublicKeyRecipient
from qpher_core.service import Qpher
from qpher_core.session import Session
from qpher_core.signed_files import FileSignature

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"
DIGEST = hashlib.sha256(b"x").digest()
OTHER_KEY = open_primitives(None).kems[KEM].open_seed(bytes(64)).encapsulation_key

#: Methods of the service's holder that only read, or sign what is there, or work for a remote
#: caller whose request has its own entries; they pass no policy and leave no entry.
HOLDER_READS = {
    "api_keys.authenticate",
    "api_keys.list",
    "idempotency.abandon",
    "idempotency.begin",
    "idempotency.finish",
    "anchors.check",
    "anchors.key",
    "anchors.keys",
    "anchors.latest",
    "anchors.list",
    "anchors.publish",
    "anchors.statements",
    "policies.decide",
    "policies.diff",
    "policies.explain",
    "policies.revision",
    "protector.status",
    "tenants.get",
    "tenants.list",
    "policies.get",
    "audit.export",
    "audit.lines",
    "audit.verify",
    "audit.has",
}


@frozen
class World:
    """A tenant with a suspended, a retired, an archived and an active version of its keys."""

    kms: Qpher
    acme: Session
    box: bytes
    sent: bytes
    wrapped: bytes
    file: bytes
    several: bytes
    folder: Path
    signature: bytes
    hashed: bytes
    receipt: Receipt
    api_key: ApiKey
    brought: bytes
    envelope: EncryptedEnvelope
    field_keys: tuple[bytes, ...]


@pytest.fixture
def world(kms: Qpher, acme: Session, tmp_path: Path) -> World:
    """Return a tenant on which every operation can succeed."""
    for algorithm in (KEM, SIGNATURE):
        acme.keys.generate(algorithm)
    for name, steps in (
        ("archived", ("retire", "archive")),
        ("retired", ("retire",)),
        ("suspended", ("suspend",)),
    ):
        acme.keys.generate(KEM, name=name)
        for step in steps:
            getattr(acme.keys, step)(KEM, 1, name=name)
    file = io.BytesIO()
    acme.kem.encrypt_file(io.BytesIO(b"x"), file)
    (tmp_path / "file").write_bytes(file.getvalue())
    several = io.BytesIO()
    acme.kem.encrypt_files({"a": tmp_path / "file"}, several)
    signed = acme.signatures.sign(b"x", algorithm=SIGNATURE)
    kms.anchors.publish(kms.tenants.get("acme"))
    return World(
        kms,
        acme,
        acme.kem.encrypt(b"x").ciphertext,
        acme.kem.encapsulate().kem_ciphertext,
        acme.kem.wrap(bytes(16)).wrapped_key,
        file.getvalue(),
        several.getvalue(),
        tmp_path,
        signed.signature,
        acme.signatures.sign_hash(DIGEST, "SHA-256", algorithm=SIGNATURE).signature,
        signed.receipt,
        kms.api_keys.create("acme")[0],
        qpher_core.wrap_private_key(
            acme.keys.import_parameters(), bytes(64), algorithm=KEM, name="brought"
        ),
        acme.kem.encrypt_local(b"x"),
        acme.kem.wrap_field_keys([bytes(32)] * 2).wrapped_keys,
    )


#: Public method to a call of it and the row that it must go through.
SESSION_METHODS: dict[str, tuple[str, Callable[[World], Any]]] = {
    "keys.generate": ("keys.generate", lambda w: w.acme.keys.generate(KEM)),
    "keys.import_key": (
        "keys.import",
        lambda w: w.acme.keys.import_key(KEM, w.brought, name="brought"),
    ),
    "keys.import_parameters": (
        "keys.import_parameters",
        lambda w: w.acme.keys.import_parameters(),
    ),
    "keys.rotate": ("keys.rotate", lambda w: w.acme.keys.rotate(KEM)),
    "keys.suspend": ("keys.suspend", lambda w: w.acme.keys.suspend(KEM, 1)),
    "keys.resume": ("keys.resume", lambda w: w.acme.keys.resume(KEM, 1, name="suspended")),
    "keys.retire": ("keys.retire", lambda w: w.acme.keys.retire(KEM, 1)),
    "keys.archive": ("keys.archive", lambda w: w.acme.keys.archive(KEM, 1, name="retired")),
    "keys.restore": ("keys.restore", lambda w: w.acme.keys.restore(KEM, 1, name="archived")),
    "keys.compromise": ("keys.compromise", lambda w: w.acme.keys.compromise(KEM, 1)),
    "keys.destroy": ("keys.destroy", lambda w: w.acme.keys.destroy(KEM, 1, name="archived")),
    "keys.get": ("keys.get", lambda w: w.acme.keys.get(KEM, 1)),
    "keys.evidence": ("audit.read", lambda w: w.acme.keys.evidence(KEM, 1)),
    "keys.active": ("keys.get", lambda w: w.acme.keys.active(KEM)),
    "keys.list": ("keys.list", lambda w: w.acme.keys.list()),
    "kem.encrypt": ("kem.encrypt", lambda w: w.acme.kem.encrypt(b"x")),
    "kem.decrypt": ("kem.decrypt", lambda w: w.acme.kem.decrypt(w.box, 1)),
    "kem.encapsulate": ("kem.encapsulate", lambda w: w.acme.kem.encapsulate()),
    "kem.decapsulate": ("kem.decapsulate", lambda w: w.acme.kem.decapsulate(w.sent, 1)),
    "kem.wrap": ("kem.wrap", lambda w: w.acme.kem.wrap(bytes(16))),
    "kem.unwrap": ("kem.unwrap", lambda w: w.acme.kem.unwrap(w.wrapped, 1)),
    "kem.encrypt_local": ("kem.encapsulate", lambda w: w.acme.kem.encrypt_local(b"x")),
    "kem.decrypt_local": ("kem.decapsulate", lambda w: w.acme.kem.decrypt_local(w.envelope)),
    "kem.encrypt_file": (
        "kem.encrypt_file",
        lambda w: w.acme.kem.encrypt_file(io.BytesIO(b"x"), io.BytesIO()),
    ),
    "kem.decrypt_file": (
        "kem.decrypt_file",
        lambda w: w.acme.kem.decrypt_file(io.BytesIO(w.file), io.BytesIO(), 1),
    ),
    "kem.encrypt_files": (
        "kem.encrypt_file",
        lambda w: w.acme.kem.encrypt_files({"a": w.folder / "file"}, io.BytesIO()),
    ),
    "kem.decrypt_files": (
        "kem.decrypt_file",
        lambda w: w.acme.kem.decrypt_files(io.BytesIO(w.several), w.folder / "new", 1),
    ),
    "kem.open_encrypted": (
        "kem.decrypt_file",
        lambda w: w.acme.kem.open_encrypted(io.BytesIO(w.file), 1),
    ),
    # Each own key among the new recipients would be a run of kem.encrypt_file besides.
    "kem.rewrap_file": (
        "kem.decrypt_file",
        lambda w: w.acme.kem.rewrap_file(
            w.folder / "file", 1, to=[PublicKeyRecipient(KEM, OTHER_KEY)]
        ),
    ),
    "kem.wrap_file_key": ("kem.encrypt_file", lambda w: w.acme.kem.wrap_file_key(bytes(32))),
    "kem.unwrap_file_key": (
        "kem.decrypt_file",
        lambda w: w.acme.kem.unwrap_file_key(read_header(w.file).recipients, 1),
    ),
    "kem.field": ("kem.encrypt_field", lambda w: w.acme.kem.field().encrypt_many(["x", b"y"])),
    "kem.wrap_field_keys": (
        "kem.encrypt_field",
        lambda w: w.acme.kem.wrap_field_keys([bytes(32)] * 2),
    ),
    "kem.unwrap_field_keys": (
        "kem.decrypt_field",
        lambda w: w.acme.kem.unwrap_field_keys(w.field_keys, 1),
    ),
    "signatures.sign": (
        "signatures.sign",
        lambda w: w.acme.signatures.sign(b"x", algorithm=SIGNATURE),
    ),
    "signatures.verify": (
        "signatures.verify",
        lambda w: w.acme.signatures.verify(b"x", w.signature, 1, SIGNATURE),
    ),
    "signatures.sign_hash": (
        "signatures.sign_hash",
        lambda w: w.acme.signatures.sign_hash(DIGEST, "SHA-256", algorithm=SIGNATURE),
    ),
    "signatures.verify_hash": (
        "signatures.verify_hash",
        lambda w: w.acme.signatures.verify_hash(DIGEST, "SHA-256", w.hashed, 1, SIGNATURE),
    ),
    "signatures.sign_file": (
        "signatures.sign_hash",
        lambda w: w.acme.signatures.sign_file(io.BytesIO(b"x"), algorithm=SIGNATURE),
    ),
    "signatures.verify_file": (
        "signatures.verify_hash",
        lambda w: w.acme.signatures.verify_file(
            io.BytesIO(b"x"), FileSignature(SIGNATURE, "default", 1, bytes(32), w.receipt, w.hashed)
        ),
    ),
    "kem.encrypt_many": ("kem.encrypt", lambda w: w.acme.kem.encrypt_many([b"x"])),
    "kem.decrypt_many": ("kem.decrypt", lambda w: w.acme.kem.decrypt_many([w.box], 1)),
    "kem.encapsulate_many": ("kem.encapsulate", lambda w: w.acme.kem.encapsulate_many(1)),
    "kem.decapsulate_many": (
        "kem.decapsulate",
        lambda w: w.acme.kem.decapsulate_many([w.sent], 1),
    ),
    "signatures.sign_many": (
        "signatures.sign",
        lambda w: w.acme.signatures.sign_many([b"x"], algorithm=SIGNATURE),
    ),
    "signatures.verify_many": (
        "signatures.verify",
        lambda w: w.acme.signatures.verify_many([(b"x", w.signature)], 1, SIGNATURE),
    ),
    "audit.entries": ("audit.read", lambda w: w.acme.audit.entries()),
    "audit.entry": ("audit.read", lambda w: w.acme.audit.entry(w.receipt)),
    "audit.page": ("audit.read", lambda w: w.acme.audit.page()),
    "audit.proof": ("audit.proof", lambda w: w.acme.audit.proof(w.receipt)),
    "audit.verify": ("audit.verify", lambda w: w.acme.audit.verify()),
    "usage.current": ("usage.read", lambda w: w.acme.usage.current()),
}
SERVICE_METHODS: dict[str, tuple[str, Callable[[World], Any]]] = {
    "imports.rotate": ("imports.rotate", lambda w: w.kms.imports.rotate()),
    "audit.move_out": (
        "audit.move_out",
        lambda w: w.kms.audit.move_out(tempfile.mkdtemp(), w.receipt.tenant_id),
    ),
    "anchors.rotate": ("anchors.rotate", lambda w: w.kms.anchors.rotate()),
    "tenants.create": ("tenants.create", lambda w: w.kms.tenants.create("other")),
    "tenants.set_plan": ("tenants.update", lambda w: w.kms.tenants.set_plan("acme", "pro")),
    "tenants.suspend": ("tenants.update", lambda w: w.kms.tenants.suspend("acme")),
    "tenants.resume": ("tenants.update", lambda w: w.kms.tenants.resume("acme")),
    "protector.use": (
        "protector.use",
        lambda w: w.kms.protector.use("memory:"),
    ),
    "protector.rewrap": ("protector.rewrap", lambda w: w.kms.protector.rewrap()),
    "maintain": ("maintenance.run", lambda w: w.kms.maintain()),
    "policies.set": ("policies.set", lambda w: w.kms.policies.set("[]", tenant="acme")),
    "policies.schedule": (
        "policies.set",
        lambda w: w.kms.policies.schedule(KEM, tenant="acme", max_age_days=90),
    ),
    "api_keys.create": ("api_keys.create", lambda w: w.kms.api_keys.create("acme")),
    "api_keys.rotate": (
        "api_keys.rotate",
        lambda w: w.kms.api_keys.rotate("acme", w.api_key.id),
    ),
    "api_keys.revoke": (
        "api_keys.revoke",
        lambda w: w.kms.api_keys.revoke("acme", w.api_key.id),
    ),
}

#: Reads of what belongs to the service or another tenant, which remote callers ask leave for.
PERMITTED_READS = {
    "api_keys.read",
    "policies.decide",
    "policies.read",
    "protector.read",
    "tenants.read",
}


def public_methods(holder: object, parts: list[str]) -> set[str]:
    """Return the public methods of the parts of a session or service."""
    return {
        f"{part}.{name}"
        for part in parts
        for name, _ in inspect.getmembers(getattr(holder, part), inspect.ismethod)
        if not name.startswith("_")
    }


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, world: World) -> Iterator[list[tuple[str, str]]]:
    """Note every entry into the pipeline: (method, action)."""
    entered: list[tuple[str, str]] = []
    run, read, administer = Pipeline.run, Pipeline.read, Pipeline.administer
    run_many = Pipeline.run_many

    def spy_run(self: Pipeline, context: RequestContext, call: Any) -> Any:
        entered.append(("run", call.operation.action))
        return run(self, context, call)

    def spy_run_many(self: Pipeline, context: RequestContext, call: Any) -> Any:
        entered.append(("run", call.operation.action))
        return run_many(self, context, call)

    def spy_read(self: Pipeline, context: RequestContext, call: Any) -> Any:
        entered.append(("read", call.operation.action))
        return read(self, context, call)

    def spy_administer(self: Pipeline, operation: Operation, *arguments: Any) -> Any:
        entered.append(("administer", operation.action))
        return administer(self, operation, *arguments)

    monkeypatch.setattr(Pipeline, "run", spy_run)
    monkeypatch.setattr(Pipeline, "run_many", spy_run_many)
    monkeypatch.setattr(Pipeline, "read", spy_read)
    monkeypatch.setattr(Pipeline, "administer", spy_administer)
    return entered


def test_no_method_is_forgotten(kms: Qpher, acme: Session) -> None:
    """The tables above have every public method of session and service, and no other."""
    made = [name for name, part in vars(type(acme)).items() if isinstance(part, cached_property)]
    parts = [name for name in made if not name.startswith("_")]
    assert public_methods(acme, parts) == set(SESSION_METHODS)
    parts = [name for name in vars(kms) if not name.startswith("_")]
    assert public_methods(kms, parts) | {"maintain"} == set(SERVICE_METHODS) | HOLDER_READS


def test_every_row_is_used() -> None:
    """Each row of the table belongs to a public method, and each method's row exists."""
    used = {action for action, _ in (SESSION_METHODS | SERVICE_METHODS).values()}
    assert used | PERMITTED_READS | OF_MIGRATIONS == set(OPERATIONS)


@pytest.mark.parametrize("method", SESSION_METHODS)
def test_session_methods_enter_once(world: World, seen: list[tuple[str, str]], method: str) -> None:
    """A public method of a session is one run or read of the pipeline with its own row."""
    action, call = SESSION_METHODS[method]
    before = world.kms._store.audit.head(world.receipt.tenant_id)[0]
    call(world)
    recorded = OPERATIONS[action].recording is Recording.ALWAYS
    assert seen == [("run" if recorded else "read", action)]
    after = world.kms._store.audit.head(world.receipt.tenant_id)[0]
    assert after - before == (1 if recorded else 0)


@pytest.mark.parametrize("method", SERVICE_METHODS)
def test_service_methods_enter_once(world: World, seen: list[tuple[str, str]], method: str) -> None:
    """A change by the service's holder is one entry of the pipeline with its own row."""
    action, call = SERVICE_METHODS[method]
    call(world)
    assert seen == [("administer", action)]
    assert OPERATIONS[action].administrative


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=lambda row: row.action)
def test_rows_are_consistent(row: Operation) -> None:
    """Each row's name, scope, states and content agree with each other."""
    part, _, name = row.action.partition(".")
    assert row.scope in {part, "admin"}
    assert OPERATIONS[row.action] is row
    if row.kind is not None:
        assert row.kind is (Kind.KEM if part == "kem" else Kind.SIGNATURE)
        assert part in row.features
        assert row.states in {PROTECT, PROCESS}
        processes = name.startswith(("decrypt", "decapsulate", "unwrap", "verify", "migrate_from"))
        assert (row.states == PROCESS) == processes == row.accepts_compromised
    else:
        assert not row.accepts_compromised
    assert (row.recording is Recording.REFUSALS) == (not row.content)
    assert KeyState.DESTROYED not in row.states


def test_reads_cannot_record_nor_change(kms: Qpher, acme: Session) -> None:
    """An operation that must be recorded cannot be read, and a read cannot change the store."""
    pipeline, context = kms._pipeline, acme._context
    recorded = Call(operation=OPERATIONS["keys.generate"], execute=lambda: Effect(1))
    with pytest.raises(TypeError, match="must be recorded"):
        pipeline.read(context, recorded)
    changing = Call(operation=OPERATIONS["keys.list"], execute=lambda: lambda _: Effect(1))
    with pytest.raises(TypeError, match="must not change"):
        pipeline.read(context, changing)


def test_recorded_operations_are_about_a_key(kms: Qpher, acme: Session) -> None:
    """A call that neither used nor made a key is a mistake; nothing of it remains."""
    call = Call(operation=OPERATIONS["keys.generate"], execute=lambda: Effect(1))
    with pytest.raises(TypeError, match="neither used nor made"):
        kms._pipeline.run(acme._context, call)
    last = [*acme.audit.entries()][-1].fields
    assert (last["outcome"], last["reason"]) == (
        "failed",
        "ERR_INTERNAL_001: unexpected TypeError",
    )


def test_unexpected_errors_are_recorded_by_type_alone(kms: Qpher, acme: Session) -> None:
    """The text of a foreign exception could hold anything: only its type reaches the log."""
    acme.keys.generate(KEM)
    call = KeyCall(
        operation=OPERATIONS["kem.encrypt"],
        selector=KeySelector("default", ALGORITHMS[KEM]),
        execute=lambda _: int("canary"),  # type: ignore[arg-type,return-value]
    )
    with pytest.raises(ValueError, match="canary"):
        kms._pipeline.run(acme._context, call)
    entry = [*acme.audit.entries()][-1]
    assert b"canary" not in entry.body
    assert entry.fields["reason"] == "ERR_INTERNAL_001: unexpected ValueError"


def test_scopes_limit_a_caller(kms: Qpher, acme: Session) -> None:
    """A context with scopes may do what they name and nothing else."""
    acme.keys.generate(KEM)
    context = RequestContext(acme._context.tenant_id, "key", frozenset({"kem"}))
    limited = Session(kms._pipeline, kms._keys, kms._audit, kms._anchorer, kms.usage_of, context)
    limited.kem.encrypt(b"x")
    for attempt in (limited.keys.list, limited.audit.verify, lambda: limited.keys.generate(KEM)):
        with pytest.raises(PermissionDenied, match="lacks the scope") as caught:
            attempt()
        assert caught.value.rule == "scope"
