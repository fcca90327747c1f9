# SPDX-License-Identifier: Apache-2.0
"""Operations on several items: as the single ones, in one commit, with an entry for each."""

import hashlib
from collections.abc import Callable

import pytest

from qpher_core import DecryptionFailed, PermissionDenied, StateConflict, ValidationError
from qpher_core.service import Qpher
from qpher_core.session import Session
from qpher_core.session_batches import MOST_ITEMS

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-65"


@pytest.fixture
def acme(session: Session) -> Session:
    """Return a session with one key of each kind."""
    session.keys.generate(KEM)
    session.keys.generate(SIGNATURE)
    return session


def _entries(session: Session, start: int) -> list[dict[str, object]]:
    return [entry.fields for entry in session.audit.entries(start=start)]


def test_signatures_are_those_of_the_single_operation(acme: Session) -> None:
    """Each verifies alone, under the batch's context, and has its own entry and receipt."""
    messages = [b"message %d" % i for i in range(5)]
    results = acme.signatures.sign_many(messages, context={"a": "b"})
    for message, result in zip(messages, results, strict=True):
        verified = acme.signatures.verify(message, result.signature, 1, context={"a": "b"})
        assert verified.valid
        entry = acme.audit.entry(result.receipt).fields
        assert entry["action"] == "signatures.sign"
        assert entry["content"] == hashlib.sha256(result.signature).hexdigest()
    assert len({result.receipt.seq for result in results}) == 5
    assert len({result.request_id for result in results}) == 1


def test_verifying_several_finds_the_wrong_one(acme: Session) -> None:
    """One altered signature is invalid, the others are valid."""
    signed = [acme.signatures.sign(b"m%d" % i).signature for i in range(3)]
    pairs = [(b"m0", signed[0]), (b"m1", signed[2]), (b"m2", signed[2])]
    results = acme.signatures.verify_many(pairs, 1)
    assert [result.valid for result in results] == [True, False, True]


def test_encapsulations_open_one_by_one_and_together(acme: Session) -> None:
    """What encapsulate_many gives, decapsulate and decapsulate_many open."""
    made = acme.kem.encapsulate_many(4)
    sent = [result.kem_ciphertext for result in made]
    opened = acme.kem.decapsulate_many(sent, 1)
    assert [r.shared_secret for r in made] == [r.shared_secret for r in opened]
    assert acme.kem.decapsulate(sent[2], 1).shared_secret == made[2].shared_secret


def test_threads_change_nothing_but_the_time(acme: Session) -> None:
    """Batches on three threads keep their order, and are one commit with an entry for each item."""
    messages = [b"message %d" % i for i in range(10)]
    start = acme.audit.verify().entries
    signed = acme.signatures.sign_many(messages, threads=3)
    pairs = [(m, r.signature) for m, r in zip(messages, signed, strict=True)]
    assert all(r.valid for r in acme.signatures.verify_many(pairs, 1, threads=3))
    swapped = acme.signatures.verify_many([pairs[0], (b"other", pairs[1][1])], 1, threads=3)
    assert [r.valid for r in swapped] == [True, False]
    made = acme.kem.encapsulate_many(10, threads=3)
    opened = acme.kem.decapsulate_many([r.kem_ciphertext for r in made], 1, threads=3)
    assert [r.shared_secret for r in opened] == [r.shared_secret for r in made]
    assert len(_entries(acme, start)) == 42


def test_an_item_that_fails_has_its_error_in_its_place(acme: Session) -> None:
    """One forged ciphertext fails alone; its entry says so, the others' say success."""
    boxes = [r.ciphertext for r in acme.kem.encrypt_many([b"a", b"b", b"c"], context={"t": "x"})]
    boxes[1] = boxes[1][:-1] + bytes([boxes[1][-1] ^ 1])
    start = acme.audit.verify().entries
    results = acme.kem.decrypt_many(boxes, 1, context={"t": "x"})
    assert results[0].plaintext == b"a"
    assert isinstance(results[1], DecryptionFailed)
    assert results[2].plaintext == b"c"
    outcomes = [entry["outcome"] for entry in _entries(acme, start)]
    assert outcomes == ["success", "failed", "success"]


def test_a_batch_is_one_commit(
    service: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty-four signatures take one commit of the store."""
    commits = []
    store = service._store
    commit = store.commit
    monkeypatch.setattr(
        store, "commit", lambda work, **named: (commits.append(1), commit(work, **named))[1]
    )
    assert len(acme.signatures.sign_many([b"m"] * 64)) == 64
    assert len(commits) == 1
    assert acme.audit.verify().ok


def test_policy_decides_once_and_refuses_all(service: Qpher, acme: Session) -> None:
    """A denied batch releases nothing and leaves one entry."""
    tenant = acme._context.tenant_id
    service.policies.set('[{"rule":"deny","actions":["signatures.sign"]}]', tenant=tenant)
    start = acme.audit.verify().entries
    with pytest.raises(PermissionDenied):
        acme.signatures.sign_many([b"a", b"b"])
    assert [entry["outcome"] for entry in _entries(acme, start)] == ["denied"]


def test_a_state_that_forbids_it_refuses_all(acme: Session) -> None:
    """A suspended key signs none of them."""
    acme.keys.suspend(SIGNATURE, 1)
    with pytest.raises(StateConflict):
        acme.signatures.sign_many([b"a"], 1)


BAD: dict[str, Callable[[Session], object]] = {
    "no items": lambda s: s.signatures.sign_many([]),
    "text": lambda s: s.signatures.sign_many("text"),
    "bytes": lambda s: s.signatures.sign_many(b"bytes"),
    "an item of text": lambda s: s.signatures.sign_many([b"a", "b"]),
    "too many": lambda s: s.signatures.sign_many([b""] * (MOST_ITEMS + 1)),
    "a pair of one": lambda s: s.signatures.verify_many([(b"a",)], 1),
    "pairs of text": lambda s: s.signatures.verify_many([("a", b"b")], 1),
    "a count of 0": lambda s: s.kem.encapsulate_many(0),
    "no threads": lambda s: s.signatures.sign_many([b"a"], threads=0),
    "threads of text": lambda s: s.kem.encapsulate_many(1, threads="2"),
    "too many threads": lambda s: s.signatures.verify_many([(b"a", b"b")], 1, threads=257),
    "half a thread": lambda s: s.kem.decapsulate_many([bytes(1088)], 1, threads=0.5),
    "a count of text": lambda s: s.kem.encapsulate_many("1"),
    "a short ciphertext": lambda s: s.kem.decapsulate_many([bytes(1088), bytes(7)], 1),
    "plaintexts of text": lambda s: s.kem.encrypt_many(["a"]),
    "ciphertexts of text": lambda s: s.kem.decrypt_many(["a"], 1),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_items_refuse_the_call(acme: Session, name: str) -> None:
    """A malformed parameter is refused before anything is done or recorded."""
    before = acme.audit.verify().entries
    with pytest.raises(ValidationError):
        BAD[name](acme)
    assert acme.audit.verify().entries == before
