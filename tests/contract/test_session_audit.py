# SPDX-License-Identifier: Apache-2.0
"""What ``session.audit`` and the audit entries of operations promise."""

import hashlib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from qpher_core.errors import (
    AuthenticationError,
    IntegrityError,
    PermissionDenied,
    QpherError,
    ValidationError,
)
from qpher_core.models import Receipt
from qpher_core.service import Qpher
from qpher_core.session import Session


def test_every_operation_leaves_one_entry(session: Session) -> None:
    """Operations that succeed and that fail leave one entry each, in order, chained."""
    session.keys.generate("ML-KEM-768")
    box = session.kem.encrypt(b"x", context={"a": "b"})
    session.kem.decrypt(box.ciphertext, 1, context={"a": "b"})
    with pytest.raises(QpherError):
        session.kem.decrypt(box.ciphertext, 1)
    session.keys.retire("ML-KEM-768", 1, reason="done")
    entries = [*session.audit.entries()]
    fields = [entry.fields for entry in entries]
    assert [(f["seq"], f["action"], f["outcome"]) for f in fields] == [
        (0, "tenants.create", "success"),
        (1, "keys.generate", "success"),
        (2, "kem.encrypt", "success"),
        (3, "kem.decrypt", "success"),
        (4, "kem.decrypt", "failed"),
        (5, "keys.retire", "success"),
    ]
    for before, entry in itertools.pairwise(entries):
        assert entry.fields["prev_hash"] == before.hash.hex()
    assert all(hashlib.sha256(entry.body).digest() == entry.hash for entry in entries)
    assert fields[2]["content"] == hashlib.sha256(box.ciphertext).hexdigest()
    assert fields[2]["context"] == hashlib.sha256(b'{"a":"b"}').hexdigest()
    assert fields[5]["reason"] == "done"
    assert {f["actor"] for f in fields[1:]} == {session._context.actor}


def test_entries_hold_no_values(session: Session) -> None:
    """Neither plaintexts nor context values nor their keys reach the log."""
    session.keys.generate("ML-KEM-768")
    box = session.kem.encrypt(b"canary-text", context={"canary-key": "canary-value"})
    session.kem.decrypt(box.ciphertext, 1, context={"canary-key": "canary-value"})
    assert not any(b"canary" in entry.body for entry in session.audit.entries())


def test_public_reads_record_refusals_alone(session: Session) -> None:
    """Reading public data leaves no entry unless it is refused."""
    session.keys.generate("ML-KEM-768")
    session.keys.get("ML-KEM-768", 1)
    session.keys.list()
    session.audit.verify()
    assert len([*session.audit.entries()]) == 2
    with pytest.raises(QpherError):
        session.keys.get("ML-KEM-768", 9)
    last = [*session.audit.entries()][-1].fields
    assert (last["action"], last["outcome"]) == ("keys.get", "failed")
    assert last["key"] == {"name": "default", "algorithm": "ML-KEM-768", "version": 9}


def test_places_beyond_every_log_are_refused(session: Session) -> None:
    """A number that a store could not hold is a bad parameter, on every store."""
    for place in (1 << 63, 1 << 70, -1):
        for read in (
            lambda n: session.audit.entries(start=n),
            lambda n: session.audit.entries(limit=n),
            lambda n: session.audit.page(cursor=n),
            lambda n: session.audit.entry(Receipt(session._context.tenant_id, n, bytes(32))),
            lambda n: session.keys.list(limit=n),
        ):
            with pytest.raises(ValidationError):
                read(place)


def test_a_receipt_leads_to_its_entry(session: Session) -> None:
    """An entry is found by receipt; a receipt that fits no entry is refused."""
    session.keys.generate("ML-KEM-768")
    receipt = session.kem.encrypt(b"x").receipt
    entry = session.audit.entry(receipt)
    assert (entry.seq, entry.hash, entry.receipt) == (receipt.seq, receipt.hash, receipt)
    for wrong in (
        evolve(receipt, seq=receipt.seq - 1),
        evolve(receipt, seq=receipt.seq + 1),
        evolve(receipt, hash=bytes(32)),
    ):
        with pytest.raises(IntegrityError, match="receipt"):
            session.audit.entry(wrong)


def test_a_receipt_of_another_tenant_leads_nowhere(service: Qpher, session: Session) -> None:
    """A session finds entries in its own tenant's log only, whatever the receipt says."""
    session.keys.generate("ML-KEM-768")
    receipt = session.kem.encrypt(b"x").receipt
    stranger = service.session(service.tenants.create(f"s {id(session)}").id, actor="x")
    stranger.keys.generate("ML-KEM-768")
    stranger.kem.encrypt(b"x")
    with pytest.raises(IntegrityError):
        stranger.audit.entry(receipt)
    assert service.audit.has(receipt)
    assert not service.audit.has(Receipt(receipt.tenant_id, receipt.seq, bytes(32)))
    assert not service.audit.has(evolve(receipt, seq=99))


def test_reading_from_and_up_to(session: Session) -> None:
    """Entries can be read from a place and up to a number; nonsense is refused."""
    session.keys.generate("ML-DSA-44")
    for _ in range(5):
        session.signatures.sign(b"x", algorithm="ML-DSA-44")
    assert [e.seq for e in session.audit.entries(start=2, limit=3)] == [2, 3, 4]
    assert [e.seq for e in session.audit.entries(start=6)] == [6]
    assert [*session.audit.entries(limit=0)] == []
    for wrong in ({"start": -1}, {"limit": -1}):
        with pytest.raises(ValidationError) as caught:
            session.audit.entries(**wrong)
        assert caught.value.parameter in wrong


def test_a_good_log_verifies(service: Qpher, session: Session) -> None:
    """Verifying tells the number of entries and the head, for tenant and service alike."""
    session.keys.generate("ML-DSA-44")
    receipt = session.signatures.sign(b"x", algorithm="ML-DSA-44").receipt
    report = session.audit.verify()
    assert (report.ok, report.entries, report.problem) == (True, 3, "")
    assert report.head == receipt.hash
    assert service.audit.verify(receipt.tenant_id) == report
    assert service.audit.verify().ok


def test_parallel_operations_form_one_chain(session: Session) -> None:
    """Operations of eight threads leave gapless entries, and receipts fit."""
    session.keys.generate("ML-KEM-768")

    def work(number: int) -> Receipt:
        box = session.kem.encrypt(b"%d" % number)
        return session.kem.decrypt(box.ciphertext, box.key_version).receipt

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(work, range(40), timeout=60))
    report = session.audit.verify()
    assert (report.ok, report.entries) == (True, 82)
    for receipt in receipts:
        assert session.audit.entry(receipt).fields["action"] == "kem.decrypt"


def test_denials_are_recorded(service: Qpher, session: Session) -> None:
    """What policy denies is not done, and the denial names its rule in the log."""
    session.keys.generate("ML-KEM-768")
    tenant_id = session.kem.encrypt(b"x").receipt.tenant_id
    service.tenants.set_plan(tenant_id, "free")
    with pytest.raises(PermissionDenied) as caught:
        session.keys.rotate("ML-KEM-768")
    assert caught.value.rule == "plan"
    assert session.keys.active("ML-KEM-768").version == 1
    service.tenants.set_plan(tenant_id, None)
    last = [*session.audit.entries()][-2].fields
    assert (last["action"], last["outcome"]) == ("keys.rotate", "denied")
    assert "rotation" in last["reason"]


def test_a_suspended_tenant_can_do_nothing(service: Qpher, session: Session) -> None:
    """Every operation of a suspended tenant is refused until it is resumed."""
    session.keys.generate("ML-KEM-768")
    tenant_id = session.kem.encrypt(b"x").receipt.tenant_id
    service.tenants.suspend(tenant_id)
    for attempt in (
        lambda: session.kem.encrypt(b"x"),
        session.keys.list,
        lambda: session.keys.generate("ML-KEM-768"),
        session.audit.verify,
    ):
        with pytest.raises(AuthenticationError):
            attempt()
    service.tenants.resume(tenant_id)
    assert session.keys.active("ML-KEM-768").version == 1
    assert session.audit.verify().ok


def test_changes_by_the_operator_are_recorded(service: Qpher) -> None:
    """Tenants and policies change through entries that bind the new document."""
    tenant = service.tenants.create(f"t {id(service)}", plan="pro", actor="root")
    service.policies.set("[]", tenant=tenant.id, actor="root")
    session = service.session(tenant.id, actor="reader")
    entries = [entry.fields for entry in session.audit.entries()]
    assert [(e["action"], e["actor"]) for e in entries] == [
        ("tenants.create", "root"),
        ("policies.set", "root"),
    ]
    document = {"id": str(tenant.id), "name": tenant.name, "plan": "pro", "status": "active"}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert entries[0]["content"] == hashlib.sha256(canonical).hexdigest()
    assert entries[1]["content"] == hashlib.sha256(b"[]").hexdigest()


def test_changes_of_keys_have_receipts(session: Session) -> None:
    """What makes or changes a key gives it with the receipt of that; reading gives none."""
    made = session.keys.generate("ML-KEM-768")
    steps = ("suspend", "resume", "retire", "archive", "restore", "compromise", "destroy")
    changed = {"generate": made} | {
        step: getattr(session.keys, step)("ML-KEM-768", 1) for step in steps
    }
    for step, key in changed.items():
        entry = session.audit.entry(key.receipt)
        assert (entry.fields["action"], entry.fields["key"]["version"]) == (f"keys.{step}", 1)
    read = session.keys.get("ML-KEM-768", 1)
    assert read.receipt is None
    assert read == changed["destroy"]
