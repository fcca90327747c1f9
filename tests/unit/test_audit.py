# SPDX-License-Identifier: Apache-2.0
"""Audit entries, their chain, and what verification says of every kind of damage."""

import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785
from attrs import evolve

from qpher_core.audit.entry import EMPTY_HEAD, EntryDraft, KeyAddress, build_entry, digest
from qpher_core.audit.log import StoredAuditLog, verify_chain
from qpher_core.audit.selection import EntryFilter
from qpher_core.discovery import open_store
from qpher_core.errors import IntegrityError, ValidationError
from qpher_core.models import AuditEntry, AuditReport, Receipt
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.records import NOW, draft

TENANT = uuid.UUID("11111111-2222-4333-8444-555555555555")
Entries = list[AuditEntry]


def chain(length: int, tenant_id: uuid.UUID = TENANT) -> Entries:
    """Return a good chain."""
    entries: Entries = []
    head = EMPTY_HEAD
    for seq in range(length):
        made = draft(f"action.{seq}")
        entries.append(build_entry(made, tenant_id=tenant_id, seq=seq, prev_hash=head, time=NOW))
        head = entries[-1].hash
    return entries


def verify(entries: Entries, *, like: Entries | None = None) -> AuditReport:
    """Verify entries against the size and head of a good chain."""
    good = entries if like is None else like
    head = good[-1].hash if good else EMPTY_HEAD
    return verify_chain(TENANT, entries, size=len(good), head=head)


def rehashed(entry: AuditEntry, body: bytes) -> AuditEntry:
    """Return an entry with another body and the hash that fits it."""
    return evolve(entry, body=body, hash=hashlib.sha256(body).digest())


# --- entries -----------------------------------------------------------------------------------


def test_the_canonical_bytes_of_an_entry() -> None:
    """The bytes of an entry are exactly those of the documented format."""
    key = KeyAddress("größe", "ML-KEM-768", 2)
    made = EntryDraft("me", "kem.encrypt", key, "success", "", str(TENANT), bytes(32), b"\xff" * 32)
    entry = build_entry(made, tenant_id=TENANT, seq=7, prev_hash=b"\x01" * 32, time=NOW)
    assert entry.body.decode() == (
        '{"action":"kem.encrypt","actor":"me","content":"'
        + "ff" * 32
        + '","context":"'
        + "00" * 32
        + '","format":"qpher-audit/1","key":{"algorithm":"ML-KEM-768","name":"größe","version":2},'
        '"outcome":"success","prev_hash":"' + "01" * 32 + '","reason":"",'
        '"request_id":"11111111-2222-4333-8444-555555555555","seq":7,'
        '"tenant":"11111111-2222-4333-8444-555555555555","time":"2026-01-31T23:59:59.123456Z"}'
    )
    assert entry.body == rfc8785.dumps(entry.fields)
    assert entry.hash == hashlib.sha256(entry.body).digest()
    assert entry.receipt == Receipt(TENANT, 7, entry.hash)


def test_absent_parts_are_null() -> None:
    """Without key, context and content the entry says null."""
    fields = chain(1)[0].fields
    assert (fields["key"], fields["context"], fields["content"]) == (None, None, None)
    assert fields["prev_hash"] == "0" * 64


def test_digests() -> None:
    """The digest of nothing is None, of empty bytes that of empty bytes."""
    assert digest(None) is None
    assert digest(b"") == hashlib.sha256(b"").digest()


# --- verification ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_a_good_chain(length: int) -> None:
    """A good chain of any length verifies, and the report has its head."""
    entries = chain(length)
    report = verify(entries)
    assert (report.ok, report.entries, report.bad_seq, report.problem) == (True, length, None, "")
    assert report.head == (entries[-1].hash if entries else EMPTY_HEAD)


def altered_body(entries: Entries) -> Entries:
    """Change the text of entry 2."""
    entries[2] = evolve(entries[2], body=entries[2].body.replace(b"tester", b"nobody"))
    return entries


def altered_and_rehashed(entries: Entries) -> Entries:
    """Change entry 2 and make its hash fit: entry 3 gives it away."""
    entries[2] = rehashed(entries[2], entries[2].body.replace(b"tester", b"nobody"))
    return entries


def altered_hash(entries: Entries) -> Entries:
    """Change the stored hash of entry 2."""
    entries[2] = evolve(entries[2], hash=bytes(32))
    return entries


def missing(entries: Entries) -> Entries:
    """Remove entry 2."""
    return entries[:2] + entries[3:]


def renumbered(entries: Entries) -> Entries:
    """Remove entry 2 and move the rest up."""
    rest = [evolve(e, seq=e.seq - 1) for e in entries[3:]]
    return entries[:2] + rest


def reordered(entries: Entries) -> Entries:
    """Swap entries 2 and 3."""
    return [*entries[:2], entries[3], entries[2], *entries[4:]]


def reordered_and_renumbered(entries: Entries) -> Entries:
    """Swap entries 2 and 3, each with the other's number."""
    swapped = [evolve(entries[3], seq=2), evolve(entries[2], seq=3)]
    return [*entries[:2], *swapped, *entries[4:]]


def duplicated(entries: Entries) -> Entries:
    """Repeat entry 1."""
    return [*entries[:2], entries[1], *entries[2:]]


def inserted(entries: Entries) -> Entries:
    """Put an entry between 1 and 2 that follows 1 properly."""
    extra = build_entry(
        draft("forged"), tenant_id=TENANT, seq=2, prev_hash=entries[1].hash, time=NOW
    )
    return [*entries[:2], extra, *[evolve(e, seq=e.seq + 1) for e in entries[2:]]]


def foreign(entries: Entries) -> Entries:
    """Put another tenant's entry in place 2."""
    other = chain(5, uuid.uuid4())[2]
    entries[2] = evolve(other, tenant_id=TENANT)
    return entries


def first_missing(entries: Entries) -> Entries:
    """Remove the first entry."""
    return entries[1:]


def cut_tail(entries: Entries) -> Entries:
    """Remove the last two entries."""
    return entries[:-2]


def emptied(entries: Entries) -> Entries:
    """Remove everything."""
    return entries[:0]


def last_altered(entries: Entries) -> Entries:
    """Change the last entry and make its hash fit: the head gives it away."""
    entries[-1] = rehashed(entries[-1], entries[-1].body.replace(b"tester", b"nobody"))
    return entries


@pytest.mark.parametrize(
    ("damage", "bad_seq", "problem"),
    [
        (altered_body, 2, "altered"),
        (altered_and_rehashed, 3, "does not follow"),
        (altered_hash, 2, "altered"),
        (missing, 2, "missing"),
        (renumbered, 2, "belongs elsewhere"),
        (reordered, 2, "missing"),
        (reordered_and_renumbered, 2, "belongs elsewhere"),
        (duplicated, 2, "missing"),
        (inserted, 3, "belongs elsewhere"),
        (foreign, 2, "belongs elsewhere"),
        (first_missing, 0, "missing"),
        (cut_tail, 6, "missing"),
        (emptied, 0, "missing"),
        (last_altered, 7, "head differs"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_damage_is_located(
    damage: Callable[[Entries], Entries], bad_seq: int, problem: str
) -> None:
    """For each kind of damage the report names the first bad entry and what is wrong."""
    good = chain(8)
    report = verify(damage(chain_copy(good)), like=good)
    assert not report.ok
    assert (report.bad_seq, problem in report.problem) == (bad_seq, True), report.problem
    assert report.entries <= 8


def chain_copy(entries: Entries) -> Entries:
    """Return a list of the same entries."""
    return list(entries)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"\xff",
        b"{}",
        b'{"seq":NaN}',
        b'{"seq":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
    ],
    ids=lambda body: body[:8],
)
def test_nonsense_is_located(body: bytes) -> None:
    """A body that is not an entry at all, with a hash that fits, is named and not an error."""
    entries = chain(3)
    good = chain_copy(entries)
    entries[1] = rehashed(entries[1], body)
    report = verify(entries, like=good)
    assert report.bad_seq == 1
    assert report.problem


def test_another_spelling_is_located() -> None:
    """The same fields in another order or spacing are not the canonical entry."""
    entries = chain(3)
    good = chain_copy(entries)
    fields = entries[1].fields
    for text in (json.dumps(fields), json.dumps(dict(reversed(fields.items())))):
        entries[1] = rehashed(good[1], text.encode())
        assert verify(entries, like=good).bad_seq == 1


def test_a_wrong_head_of_a_good_chain() -> None:
    """A recorded head that is not the last entry's hash is noticed, also without entries."""
    entries = chain(3)
    assert verify_chain(TENANT, entries, size=3, head=bytes(32)).bad_seq == 2
    assert verify_chain(TENANT, [], size=0, head=b"\x01" * 32).bad_seq == 0


# --- the log of a store ------------------------------------------------------------------------


def test_the_log_takes_time_from_its_clock() -> None:
    """Each entry has the time of the clock when it is appended."""
    store = open_store("memory:", parameter="url")
    moment = datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC)
    log = StoredAuditLog(store.audit, lambda: moment)
    entry = store.commit(lambda w: log.append(w.audit, TENANT, draft()))
    assert entry.fields["time"] == "2030-05-06T07:08:09.000000Z"
    assert log.verify(TENANT).ok
    assert log.entry(entry.receipt) == entry


def test_wrong_receipts_and_ranges() -> None:
    """Receipts that fit no entry and ranges below zero are refused."""
    store = open_store("memory:", parameter="url")
    log = StoredAuditLog(store.audit, lambda: NOW)
    entry = store.commit(lambda w: log.append(w.audit, TENANT, draft()))
    for receipt in (
        evolve(entry.receipt, hash=bytes(32)),
        evolve(entry.receipt, seq=1),
        evolve(entry.receipt, tenant_id=uuid.uuid4()),
    ):
        with pytest.raises(IntegrityError):
            log.entry(receipt)
    with pytest.raises(ValidationError):
        log.entry(evolve(entry.receipt, seq=-1))
    for more in ({"start": -1}, {"limit": -1}):
        with pytest.raises(ValidationError):
            log.entries(TENANT, **more)


def test_has_notices_alterations(kms: Qpher, acme: Session) -> None:
    """An entry that was altered under its old hash is not the one of its receipt."""
    acme.keys.generate("ML-DSA-44")
    receipt = acme.signatures.sign(b"", algorithm="ML-DSA-44").receipt
    assert kms.audit.has(receipt)
    entries = kms._store._state.entries[receipt.tenant_id]  # type: ignore[attr-defined]
    good = entries[receipt.seq]
    entries[receipt.seq] = evolve(good, body=good.body.replace(b"tester", b"nobody"))
    assert not kms.audit.has(receipt)
    with pytest.raises(IntegrityError):
        acme.audit.entry(receipt)
    report = acme.audit.verify()
    assert (report.bad_seq, report.problem) == (receipt.seq, "the entry was altered")


def test_a_clock_that_steps_back_is_recorded_and_reorders_nothing() -> None:
    """Entries keep the order of their commits and the time that the clock showed."""
    shown = [NOW, NOW - timedelta(days=1), NOW + timedelta(seconds=1)]
    clock = iter(shown)
    store = open_store("memory:", parameter="url")
    log = StoredAuditLog(store.audit, lambda: next(clock))
    tenant_id = uuid.uuid4()
    for _ in range(3):
        store.commit(lambda writer: log.append(writer.audit, tenant_id, draft()))
    times = [entry.fields["time"] for entry in log.entries(tenant_id)]
    assert [datetime.fromisoformat(str(time)) for time in times] == shown
    assert log.verify(tenant_id).ok


def test_parts_of_a_filter_are_checked() -> None:
    """What no entry can have is refused before a log is read for it, or an export verified."""
    wrong: dict[str, Any] = {
        "since": datetime.min.replace(tzinfo=UTC),
        "until": datetime.max.replace(tzinfo=UTC),
        "actor": ["alice"],
        "action": 5,
        "outcome": b"success",
        "name": {},
        "algorithm": False,
        "version": 0,
    }
    for name, value in wrong.items():
        with pytest.raises(ValidationError) as caught:
            EntryFilter(**{name: value})
        assert caught.value.parameter == name
