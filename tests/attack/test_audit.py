# SPDX-License-Identifier: Apache-2.0
"""The audit log, altered by someone with the database file.

A chain alone cannot show a forger who recomputes every later entry together with the recorded
head; ``test_a_rewritten_log_needs_a_head_kept_elsewhere`` says so and shows what does.
"""

import hashlib
import uuid

import pytest

import qpher_core
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.audit.tree import grow, leaf_hash
from qpher_core.models import canonical_json
from tests.attack.conftest import KEM, Prompt

ENTRIES = 12


@pytest.fixture
def tenant(kms: qpher_core.Qpher, acme: qpher_core.Session) -> uuid.UUID:
    """Return the id of a tenant with twelve entries."""
    while (count := len(list(acme.audit.entries()))) < ENTRIES:
        acme.kem.encrypt(b"m" * count)
    return kms.tenants.get("acme").id


def _entry(kms: qpher_core.Qpher, tenant: uuid.UUID, seq: int) -> qpher_core.AuditEntry:
    return next(kms._store.audit.read(tenant, start=seq, limit=1))


def _forged(kms: qpher_core.Qpher, tenant: uuid.UUID, place: int, **changes: object) -> bytes:
    return canonical_json({**_entry(kms, tenant, place).fields, **changes})


WHERE = "WHERE tenant_id = ? AND seq = ?"


def _first_bad(kms: qpher_core.Qpher) -> tuple[int | None, str]:
    report = kms.audit.verify("acme")
    assert not report.ok
    return report.bad_seq, report.problem


@pytest.mark.parametrize("seq", [0, 5, ENTRIES - 1])
def test_an_altered_entry_is_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt, seq: int
) -> None:
    """Another actor in the body, under the old hash."""
    body = _forged(kms, tenant, seq, actor="mallory")
    prompt(f"UPDATE audit_entries SET body = ? {WHERE}", (body, str(tenant), seq))
    assert _first_bad(kms) == (seq, "the entry was altered")


def test_an_altered_hash_is_named(kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt) -> None:
    """Another hash beside the old body."""
    prompt(f"UPDATE audit_entries SET hash = zeroblob(32) {WHERE}", (str(tenant), 4))
    assert _first_bad(kms) == (4, "the entry was altered")


def test_an_entry_that_was_altered_with_its_hash_breaks_the_chain_after_it(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """Body and hash fit each other, but not the entry that follows."""
    body = _forged(kms, tenant, 4, actor="mallory")
    digest = hashlib.sha256(body).digest()
    prompt(f"UPDATE audit_entries SET body = ?, hash = ? {WHERE}", (body, digest, str(tenant), 4))
    assert _first_bad(kms) == (5, "the entry does not follow the one before it")


@pytest.mark.parametrize("seq", [0, 4, ENTRIES - 1])
def test_a_missing_entry_is_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt, seq: int
) -> None:
    """One entry deleted at the beginning, in the middle or at the end."""
    prompt(f"DELETE FROM audit_entries {WHERE}", (str(tenant), seq))
    assert _first_bad(kms) == (seq, "the entry is missing")


def test_a_cut_tail_is_named(kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt) -> None:
    """All entries from the eighth on deleted."""
    prompt("DELETE FROM audit_entries WHERE tenant_id = ? AND seq >= 8", (str(tenant),))
    assert _first_bad(kms) == (8, "the entry is missing")


def test_an_emptied_log_is_noticed(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """Every entry deleted."""
    prompt("DELETE FROM audit_entries WHERE tenant_id = ?", (str(tenant),))
    assert _first_bad(kms) == (0, "the entry is missing")


def test_reordered_entries_are_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """Two entries that changed places."""
    for before, after in ((4, 1000), (5, 4), (1000, 5)):
        prompt(f"UPDATE audit_entries SET seq = {after} {WHERE}", (str(tenant), before))
    assert _first_bad(kms) == (4, "the entry belongs elsewhere")


def test_a_duplicated_entry_is_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """One entry put in the place of another."""
    entry = _entry(kms, tenant, 4)
    prompt(
        f"UPDATE audit_entries SET body = ?, hash = ? {WHERE}",
        (entry.body, entry.hash, str(tenant), 7),
    )
    assert _first_bad(kms) == (7, "the entry belongs elsewhere")


def test_an_inserted_entry_is_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """One entry added at the end without moving the head."""
    body = _forged(kms, tenant, ENTRIES - 1, seq=ENTRIES)
    prompt(
        "INSERT INTO audit_entries (tenant_id, seq, body, hash) VALUES (?, ?, ?, ?)",
        (str(tenant), ENTRIES, body, hashlib.sha256(body).digest()),
    )
    prompt("UPDATE audit_heads SET size = size + 1 WHERE tenant_id = ?", (str(tenant),))
    assert _first_bad(kms) == (ENTRIES, "the entry does not follow the one before it")


def test_an_entry_of_another_tenant_is_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """An entry of the other tenant's log in the place of one."""
    entry = _entry(kms, kms.tenants.get("rival").id, 1)
    prompt(
        f"UPDATE audit_entries SET body = ?, hash = ? {WHERE}",
        (entry.body, entry.hash, str(tenant), 1),
    )
    assert _first_bad(kms) == (1, "the entry belongs elsewhere")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"not JSON", b'{"a": 1}', b"\xff\xfe", b"[1]", b"[" * 100_000]
)
def test_what_is_no_entry_is_named(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt, body: bytes
) -> None:
    """Anything else in the place of an entry, with its right hash."""
    digest = hashlib.sha256(body).digest()
    prompt(f"UPDATE audit_entries SET body = ?, hash = ? {WHERE}", (body, digest, str(tenant), 3))
    assert _first_bad(kms)[0] == 3


def test_an_altered_head_is_noticed(
    kms: qpher_core.Qpher, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """Another head over untouched entries."""
    prompt("UPDATE audit_heads SET hash = zeroblob(32) WHERE tenant_id = ?", (str(tenant),))
    assert _first_bad(kms) == (ENTRIES - 1, "the recorded head differs")


def test_a_receipt_shows_an_altered_entry(
    kms: qpher_core.Qpher, acme: qpher_core.Session, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """Whoever kept a receipt notices that its entry is not the one any more."""
    receipt = acme.kem.encrypt(b"m").receipt
    assert acme.audit.entry(receipt).fields["action"] == "kem.encrypt"
    body = _forged(kms, tenant, receipt.seq, actor="mallory")
    digest = hashlib.sha256(body).digest()
    prompt(
        f"UPDATE audit_entries SET body = ?, hash = ? {WHERE}",
        (body, digest, str(tenant), receipt.seq),
    )
    with pytest.raises(qpher_core.IntegrityError):
        acme.audit.entry(receipt)
    assert not kms.audit.has(receipt)


def test_a_rewritten_log_needs_a_head_kept_elsewhere(
    kms: qpher_core.Qpher, acme: qpher_core.Session, tenant: uuid.UUID, prompt: Prompt
) -> None:
    """Who recomputes all entries and the head passes verification, but not a kept head."""
    kept = kms.audit.verify("acme").head
    previous, peaks = EMPTY_HEAD, b""
    for seq in range(ENTRIES):
        body = _forged(kms, tenant, seq, actor="mallory", prev_hash=previous.hex())
        previous = hashlib.sha256(body).digest()
        peaks, nodes = grow(seq, peaks, leaf_hash(body))
        prompt(
            f"UPDATE audit_entries SET body = ?, hash = ?, nodes = ? {WHERE}",
            (body, previous, nodes, str(tenant), seq),
        )
    prompt(
        "UPDATE audit_heads SET hash = ?, peaks = ? WHERE tenant_id = ?",
        (previous, peaks, str(tenant)),
    )
    report = kms.audit.verify("acme")
    assert report.ok
    assert report.head != kept
    assert acme.keys.get(KEM, 1).version == 1
