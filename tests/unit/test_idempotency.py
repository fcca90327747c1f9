# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: one change, one answer, sealed, for 24 hours."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from qpher_core.errors import IntegrityError, QpherError, StateConflict, ValidationError
from qpher_core.models import IdempotencyRecord
from qpher_core.service import Qpher

TENANT = uuid.UUID(int=1)
REQUEST = uuid.UUID(int=2)


def begin(kms: Qpher, key: str = "k", request: bytes = b"r") -> IdempotencyRecord | bytes:
    """Begin a call."""
    return kms.idempotency.begin(TENANT, key, request, REQUEST)


def begun(kms: Qpher, key: str = "k", request: bytes = b"r") -> IdempotencyRecord:
    """Begin a call that is not known."""
    record = begin(kms, key, request)
    assert isinstance(record, IdempotencyRecord)
    return record


def test_the_answer_is_given_again(kms: Qpher) -> None:
    """Asking again gives the first answer."""
    kms.idempotency.finish(begun(kms), b"answer")
    assert begin(kms) == b"answer"
    assert begin(kms) == b"answer"


def test_answers_are_sealed(kms: Qpher) -> None:
    """The store has no answer in the clear, and an altered or moved one does not open."""
    record, other = begun(kms), begun(kms, "other")
    kms.idempotency.finish(record, b"a secret answer")
    stored = kms._store.idempotency.get(TENANT, record.key_hash)
    assert stored is not None
    assert stored.answer is not None
    assert b"secret" not in stored.answer
    altered = stored.answer[:-1] + bytes([stored.answer[-1] ^ 1])
    for forged in (evolve(stored, answer=altered), evolve(stored, key_hash=other.key_hash)):
        kms._store.commit(lambda w, forged=forged: w.idempotency.put(forged))  # type: ignore[misc]
    for key in ("k", "other"):
        with pytest.raises(IntegrityError):
            begin(kms, key)


@pytest.mark.parametrize("kept", [0, 1, 10, 17, 25, 40])
def test_an_answer_that_was_cut_is_refused(kms: Qpher, kept: int) -> None:
    """Wherever a remembered answer was cut, it is refused and not given."""
    record = begun(kms)
    kms.idempotency.finish(record, b"a secret answer")
    stored = kms._store.idempotency.get(TENANT, record.key_hash)
    assert stored is not None
    assert stored.answer is not None
    cut = evolve(stored, answer=stored.answer[:kept])
    kms._store.commit(lambda w: w.idempotency.put(cut))
    with pytest.raises(QpherError):
        begin(kms)


def test_a_key_stands_for_one_request(kms: Qpher) -> None:
    """Another request under the same key is refused; another tenant's key is another key."""
    kms.idempotency.finish(begun(kms), b"answer")
    with pytest.raises(ValidationError, match="another request"):
        begin(kms, request=b"other")
    elsewhere = kms.idempotency.begin(uuid.UUID(int=9), "k", b"other", REQUEST)
    assert isinstance(elsewhere, IdempotencyRecord)


def test_a_call_under_way_is_not_made_twice(kms: Qpher) -> None:
    """While there is no answer the same call is refused, and named by its request id."""
    begun(kms)
    with pytest.raises(StateConflict, match=str(REQUEST)) as refusal:
        begin(kms)
    assert refusal.value.code == "ERR_CONFLICT_002"


def test_an_abandoned_call_can_be_tried_again(kms: Qpher) -> None:
    """Of an abandoned call nothing is remembered."""
    kms.idempotency.abandon(begun(kms))
    begun(kms, request=b"other")


def test_a_day_later_it_is_forgotten(kms: Qpher, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 24 hours the key is free again, and old records are removed."""
    old = begun(kms, "old")
    kms.idempotency.finish(begun(kms), b"answer")
    later = datetime.now(UTC) + timedelta(hours=24, seconds=1)
    monkeypatch.setattr(kms.idempotency, "_clock", lambda: later)
    begun(kms, request=b"other")
    assert kms._store.idempotency.get(TENANT, old.key_hash) is None


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_malformed_keys_are_refused(kms: Qpher, key: str) -> None:
    """A key has 1 to 255 characters without controls."""
    with pytest.raises(QpherError, match="Idempotency-Key"):
        begin(kms, key)
