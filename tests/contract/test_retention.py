# SPDX-License-Identifier: Apache-2.0
"""Moving the beginning of a log out, on every backend: what goes, what stays, what verifies."""

import hashlib
import json
import os
import resource
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import qpher_core
from qpher_core import (
    AnchorSettings,
    NotFound,
    Problem,
    StateConflict,
    Unavailable,
    ValidationError,
    VerifierKey,
)
from qpher_core.audit.log import moved_document
from qpher_core.audit.segments import prove_from_export, verify_exports
from qpher_core.service import Qpher
from qpher_core.session import Session

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"


@pytest.fixture
def tenant(service: Qpher) -> qpher_core.Tenant:
    """Return a tenant that nothing else uses."""
    return service.tenants.create(f"kept-{uuid.uuid4().hex}")


def _work(session: Session, times: int) -> None:
    for _ in range(times):
        session.kem.encapsulate()


def _keys(service: Qpher) -> list[VerifierKey]:
    return list(map(VerifierKey.parse, service.anchors.keys()))


def test_a_log_verifies_before_and_after(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """Twice moved out, a log verifies online, alone from its base, and with both segments."""
    session = service.session(tenant.id, actor="x")
    session.keys.generate(KEM)
    _work(session, 8)
    first = service.anchors.publish(tenant)
    _work(session, 5)
    one = service.audit.move_out(tmp_path, tenant.id, until=first.size + 2, actor="alice")
    assert (one.first, one.end) == (0, first.size)
    assert one.sha256 == hashlib.sha256(one.path.read_bytes()).digest()
    assert next(session.audit.entries()).seq == first.size
    _work(session, 4)
    two = service.audit.move_out(tmp_path, tenant.id)
    assert (two.first, two.end) == (one.end, first.size + 5 + 1 + 4)
    _work(session, 3)
    assert service.audit.verify(tenant.id).ok
    assert session.audit.verify().ok
    service.audit.export(tmp_path / "rest.jsonl", tenant.id)
    keys, rest = _keys(service), tmp_path / "rest.jsonl"
    alone = verify_exports([rest], keys)
    assert (alone.ok, alone.first) == (True, two.end)
    whole = verify_exports([rest, two.path, one.path], keys, last_anchor=first.note)
    assert (whole.ok, whole.first, whole.entries) == (True, 0, alone.entries)
    gap = verify_exports([rest, one.path], keys)
    assert (gap.problem, gap.bad_seq) == (Problem.MISSING, one.end)
    lost = verify_exports([rest], keys, last_anchor=first.note)
    assert lost.problem is Problem.MISSING


def test_moving_out_is_recorded(service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path) -> None:
    """An entry says who moved what, with the digest of a document that names the file's digest."""
    moved = service.audit.move_out(tmp_path, tenant.id, actor="alice")
    (entry,) = service.session(tenant.id, actor="x").audit.entries()
    assert (entry.fields["action"], entry.fields["actor"]) == ("audit.move_out", "alice")
    base = service._store.audit.base(tenant.id)
    assert base is not None
    document = moved_document(base)
    assert entry.fields["content"] == hashlib.sha256(document).hexdigest()
    assert json.loads(document)["segment"] == moved.sha256.hex()


def test_proofs_of_what_was_moved_come_from_its_file(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """The file proves an entry that the service no longer has, bound to its content."""
    session = service.session(tenant.id, actor="x")
    session.keys.generate(SIGNATURE)
    signed = [session.signatures.sign(b"m", algorithm=SIGNATURE) for _ in range(5)]
    moved = service.audit.move_out(tmp_path, tenant.id)
    kept = session.signatures.sign(b"m", algorithm=SIGNATURE)
    for old in signed:
        with pytest.raises(NotFound, match="moved out"):
            session.audit.proof(old.receipt)
        proof, body = prove_from_export(moved.path, old.receipt.seq)
        verified = qpher_core.verify_proof(str(proof), body, old.signature, _keys(service))
        assert verified.fields["seq"] == old.receipt.seq
    with pytest.raises(NotFound):
        prove_from_export(moved.path, kept.receipt.seq)
    proof_text = session.audit.proof(kept.receipt)
    entry = session.audit.entry(kept.receipt)
    qpher_core.verify_proof(proof_text, entry, kept.signature, _keys(service))
    assert not service.audit.has(signed[0].receipt)
    assert service.audit.has(kept.receipt)


def test_uses_are_counted_on(service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path) -> None:
    """What a key version was used for until then is not forgotten, and counts for rotation."""
    session = service.session(tenant.id, actor="x")
    session.keys.generate(KEM)
    _work(session, 6)
    ref = qpher_core.KeyRef(tenant.id, "default", KEM, 1)
    before = service._usage.of(ref)
    service.audit.move_out(tmp_path, tenant.id)
    fresh = type(service._usage)(service._store.audit.read, service._store.audit.base)
    assert fresh.of(ref) == before
    assert before.protected == 6
    _work(session, 1)
    assert fresh.of(ref).protected == service._usage.of(ref).protected == 7


def test_what_is_not_anchored_stays(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """Before the first anchor that is old enough, and after the last, there is nothing to move."""
    service.anchors.publish(tenant)
    for until in (datetime.now(UTC) - timedelta(days=1), 0, True, datetime.now()):  # noqa: DTZ005
        with pytest.raises((NotFound, ValidationError)):
            service.audit.move_out(tmp_path, tenant.id, until=until)
    service.audit.move_out(tmp_path, tenant.id, until=datetime.now(UTC))
    with pytest.raises(NotFound):
        service.audit.move_out(tmp_path, tenant.id, until=1)
    assert service.audit.verify(tenant.id).ok


def test_what_is_no_place_in_a_log_changes_nothing(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """It is refused by name before the log is anchored."""
    wrong: list[Any] = [0, -1, True, 1.5, "1", datetime(2020, 1, 1)]  # noqa: DTZ001
    for until in wrong:
        with pytest.raises(ValidationError) as caught:
            service.audit.move_out(tmp_path, tenant.id, until=until)
        assert caught.value.parameter == "until"
    assert service.anchors.latest(tenant) is None


def test_a_log_that_does_not_verify_is_not_moved(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An altered entry is found in the file before anything is removed."""
    session = service.session(tenant.id, actor="x")
    session.keys.generate(KEM)
    read = service._store.audit.read

    def altered(tenant_id: uuid.UUID, **how: int) -> object:
        for entry in read(tenant_id, **how):
            yield evolve(entry, body=entry.body.replace(b"success", b"failed"))

    with monkeypatch.context() as patch:
        patch.setattr(service._store.audit, "read", altered)
        with pytest.raises(qpher_core.AuditIntegrityError):
            service.audit.move_out(tmp_path, tenant.id)
    assert list(tmp_path.iterdir()) == []  # nothing has the name of a segment that is none
    assert len(list(session.audit.entries())) == 2
    assert service.audit.verify(tenant.id).ok


def test_an_attempt_that_did_not_end_is_repeated(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """A file that was left by an attempt is replaced: its entries are all in the store still."""
    anchor = service.anchors.publish(tenant)
    left = tmp_path / f"{tenant.id}-{0:012d}-{anchor.size:012d}.jsonl.gz"
    left.write_bytes(b"half a file")
    moved = service.audit.move_out(tmp_path, tenant.id)
    assert moved.path == left
    assert verify_exports([left], _keys(service)).ok
    assert [path.name for path in tmp_path.iterdir()] == [left.name]


def test_what_cannot_be_tidied_up_is_left(tmp_path: Path) -> None:
    """After entries were moved, nothing in the folder makes it look as if they were not."""
    with qpher_core.open("memory:", anchors=AnchorSettings(every_seconds=None)) as kms:
        tenant = kms.tenants.create("acme")
        left = tmp_path / f"{tenant.id}-{0:012d}-{99:012d}.jsonl.gz"
        left.mkdir()
        moved = kms.audit.move_out(tmp_path, tenant.id)
        assert {moved.path, left} == set(tmp_path.iterdir())
        assert kms.audit.verify(tenant.id).ok


def test_of_two_at_once_one_moves(
    service: Qpher, tenant: qpher_core.Tenant, tmp_path: Path
) -> None:
    """Two that move the same entries at once: one does, the other is refused or finds none."""
    service.anchors.publish(tenant)
    barrier, outcomes = threading.Barrier(2), []

    def move(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(service.audit.move_out(tmp_path / str(number), tenant.id, until=1))
        except (StateConflict, NotFound) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(outcome, Exception) for outcome in outcomes) == [False, True]
    assert service.audit.verify(tenant.id).ok


def test_the_service_log_is_moved_too(service: Qpher, tmp_path: Path) -> None:
    """The service's own log can be moved out as any other."""
    service.anchors.publish()
    moved = service.audit.move_out(tmp_path)
    assert service.audit.verify().ok
    assert verify_exports([moved.path], _keys(service)).ok


def test_folders_are_on_disk_before_entries_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is made for the file is forced to disk, in each that is made for it, too."""
    forced: list[str] = []
    fsync = os.fsync

    def recorded(handle: int) -> None:
        forced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    with qpher_core.open("memory:", anchors=AnchorSettings(every_seconds=None)) as kms:
        kms.anchors.publish()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", recorded)
            kms.audit.move_out(tmp_path / "a" / "b")
    assert {str(tmp_path / "a" / "b"), str(tmp_path / "a"), str(tmp_path)} <= set(forced)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A disk that is full stays no fuller than it was, and the log is whole."""
    with qpher_core.open("memory:", anchors=AnchorSettings(every_seconds=None)) as kms:
        kms.anchors.publish()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                kms.audit.move_out(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(tmp_path.iterdir()) == []
        assert kms.audit.verify().ok
        assert kms.audit.move_out(tmp_path).first == 0


def test_what_is_not_published_is_not_moved(tmp_path: Path) -> None:
    """While an anchor could not be published everywhere, its entries stay."""

    def refuse(_tenant_id: uuid.UUID, _note: str) -> None:
        raise OSError("no way")

    settings = AnchorSettings(every_seconds=None, publishers=[refuse])
    with qpher_core.open("memory:", anchors=settings) as kms:
        acme = kms.tenants.create("acme")
        with pytest.raises(Unavailable):
            kms.audit.move_out(tmp_path, acme.id)
        assert len(list(kms.session("acme", actor="x").audit.entries())) == 1


def test_a_log_that_cannot_be_anchored_is_not_exported_as_an_empty_one(tmp_path: Path) -> None:
    """If what is published is from before the base, the export is refused, and says why."""
    settings = AnchorSettings(every_seconds=None, publishers=[f"file://{tmp_path}/published"])
    with qpher_core.open("memory:", anchors=settings) as kms:
        acme = kms.tenants.create("acme")
        old = kms.anchors.publish(acme)
        kms.tenants.set_plan(acme.id, "pro")
        kms.audit.move_out(tmp_path, acme.id)
        published = tmp_path / "published" / f"{acme.id}.checkpoint"
        published.write_text(old.note, encoding="utf-8")
        with pytest.raises(NotFound, match="segments"):
            kms.audit.export(tmp_path / "rest.jsonl", acme.id)
