# SPDX-License-Identifier: Apache-2.0
"""Audit logs whose head, or whose place in the database, was altered.

What a chain without signed anchors cannot show: a log whose every later entry and head were
recomputed, and a log that was set back to an earlier state as a whole, entries and head. Both
take a head or a receipt that was kept where the forger cannot reach it.
"""

import hashlib
import threading
import uuid

import pytest

import qpher_core
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.attack.conftest import Prompt

ENTRIES = 8


@pytest.fixture
def tenant(kms: Qpher, acme: Session) -> uuid.UUID:
    """Return the id of a tenant with eight entries."""
    while len(list(acme.audit.entries())) < ENTRIES:
        acme.kem.encrypt(b"m")
    return kms.tenants.get("acme").id


def _entry(kms: Qpher, tenant: uuid.UUID, seq: int) -> qpher_core.AuditEntry:
    return next(kms._store.audit.read(tenant, start=seq, limit=1))


def _first_bad(kms: Qpher, tenant: str = "acme") -> tuple[int | None, str]:
    report = kms.audit.verify(tenant)
    assert not report.ok
    return report.bad_seq, report.problem


def test_a_head_that_was_set_back_hides_nothing(
    kms: Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """A head that fits an earlier entry, with the later ones still there, is noticed."""
    prompt(
        "UPDATE audit_heads SET size = 5, hash = ? WHERE tenant_id = ?",
        (_entry(kms, tenant, 4).hash, str(tenant)),
    )
    assert _first_bad(kms) == (5, "the entry is beyond the recorded head")


def test_nothing_is_appended_over_a_head_that_was_set_back(
    kms: Qpher, acme: Session, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """The next operation does not overwrite an entry: it is refused."""
    prompt(
        "UPDATE audit_heads SET size = 5, hash = ? WHERE tenant_id = ?",
        (_entry(kms, tenant, 4).hash, str(tenant)),
    )
    before = [entry.hash for entry in kms._store.audit.read(tenant)]
    with pytest.raises(qpher_core.AuditUnavailable):
        acme.kem.encrypt(b"m")
    assert [entry.hash for entry in kms._store.audit.read(tenant)] == before


@pytest.mark.parametrize("size", [ENTRIES + 1, 1000])
def test_a_head_of_a_longer_log_is_noticed(
    kms: Qpher, tenant: uuid.UUID, prompt: Prompt, size: int
) -> None:
    """A head that counts entries which are not there names the first of them."""
    prompt(f"UPDATE audit_heads SET size = {size} WHERE tenant_id = ?", (str(tenant),))
    assert _first_bad(kms) == (ENTRIES, "the entry is missing")


def test_a_deleted_head_is_noticed(kms: Qpher, tenant: uuid.UUID, prompt: Prompt) -> None:
    """Entries without any head are all beyond it."""
    prompt("DELETE FROM audit_heads WHERE tenant_id = ?", (str(tenant),))
    assert _first_bad(kms) == (0, "the entry is beyond the recorded head")


def test_an_entry_that_moved_to_another_tenant_is_noticed_in_both_logs(
    kms: Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """It is missing from one log and one too many in the other."""
    other = kms.tenants.get("rival").id
    size = len(list(kms._store.audit.read(other)))
    prompt(
        "UPDATE audit_entries SET tenant_id = ?, seq = ? WHERE tenant_id = ? AND seq = 6",
        (str(other), size, str(tenant)),
    )
    assert _first_bad(kms) == (6, "the entry is missing")
    assert _first_bad(kms, "rival") == (size, "the entry is beyond the recorded head")


def test_an_entry_put_between_two_is_noticed(kms: Qpher, tenant: uuid.UUID, prompt: Prompt) -> None:
    """An entry squeezed in by moving up all that follow is named, even with the head moved on."""
    for seq in range(ENTRIES - 1, 3, -1):
        prompt(
            f"UPDATE audit_entries SET seq = {seq + 1} WHERE tenant_id = ? AND seq = {seq}",
            (str(tenant),),
        )
    copied = _entry(kms, tenant, 3)
    body = copied.body.replace(b'"seq":3', b'"seq":4')
    prompt(
        "INSERT INTO audit_entries (tenant_id, seq, body, hash) VALUES (?, 4, ?, ?)",
        (str(tenant), body, hashlib.sha256(body).digest()),
    )
    prompt("UPDATE audit_heads SET size = size + 1 WHERE tenant_id = ?", (str(tenant),))
    assert _first_bad(kms) == (4, "the entry does not follow the one before it")


def test_a_service_that_is_at_work_verifies_all_the_while(kms: Qpher, acme: Session) -> None:
    """Entries that are appended during a verification are not taken for a forgery."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            acme.kem.encrypt(b"m")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    reports = [kms.audit.verify("acme")]
    while reports[-1].ok and reports[-1].entries < 100:
        reports.append(kms.audit.verify("acme"))
    stop.set()
    for thread in threads:
        thread.join()
    assert all(report.ok for report in reports), [r for r in reports if not r.ok][:1]
    assert len(reports) > 3


def test_what_only_a_kept_receipt_shows(
    kms: Qpher, acme: Session, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """A log set back as a whole, tail and head, verifies; the receipt of what is gone does not."""
    peaks = kms._store.audit.state(tenant).peaks
    receipt = acme.kem.encrypt(b"m").receipt
    prompt(f"DELETE FROM audit_entries WHERE tenant_id = ? AND seq >= {ENTRIES}", (str(tenant),))
    prompt(
        f"UPDATE audit_heads SET size = {ENTRIES}, hash = ?, peaks = ? WHERE tenant_id = ?",
        (_entry(kms, tenant, ENTRIES - 1).hash, peaks, str(tenant)),
    )
    assert kms.audit.verify("acme").ok
    assert not kms.audit.has(receipt)
    with pytest.raises(qpher_core.IntegrityError):
        acme.audit.entry(receipt)
