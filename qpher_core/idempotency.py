# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: a change that is asked for twice is made once.

A call is written down before it is made, and its answer after it. Whoever asks again gets that
answer; whoever asks for something else under the same key is refused. A call that was cut short
in between (a crash) has no answer: what became of it is in the audit log, under its request id.
Answers may hold secrets, so they are stored sealed (AES-256-GCM under a key that the key protector
derives for the tenant).
"""

import hashlib
import os
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import evolve
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core._cache import BoundedCache
from qpher_core.errors import IntegrityError, StateConflict, ValidationError
from qpher_core.models import IdempotencyRecord
from qpher_core.protocols import KeyProtector, Store, StoreWriter
from qpher_core.validation import check_text

__all__ = ["UNDER_WAY", "Idempotency"]

#: Code of the refusal of a call that has no answer yet. No other conflict has it: who asks again
#: must tell what may still become of the first request from what was decided.
UNDER_WAY: Final = "ERR_CONFLICT_002"

_REMEMBERED: Final = timedelta(hours=24)
_VISIBLE: Final = re.compile("[!-~]*")
_LONGEST_KEY: Final = 255
_NONCE_BYTES: Final = 12
_CIPHERS: Final = 256
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)  # older than anything remembered


class Idempotency:
    """What is remembered of calls with idempotency keys, for 24 hours. Thread-safe."""

    def __init__(
        self,
        store: Store,
        protector: KeyProtector,
        current_kek: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._protector = protector
        self._current_kek = current_kek
        self._clock = clock
        self._ciphers: BoundedCache[tuple[uuid.UUID, str], AESGCM] = BoundedCache(_CIPHERS)

    def begin(
        self, tenant_id: uuid.UUID, key: str, request: bytes, request_id: uuid.UUID
    ) -> IdempotencyRecord | bytes:
        """Write down a call, durably, or return the answer that it was given before.

        Args:
            tenant_id: whose call it is.
            key: the idempotency key, 1 to 255 visible ASCII characters.
            request: all that makes the request what it is.
            request_id: its id, by which the audit log names it.

        Raises:
            ValidationError: the key is malformed, or stands for another request.
            StateConflict: the call is under way, or was cut short.
            StoreUnavailable: it cannot be written down.
        """
        text = check_text(key, "Idempotency-Key", longest=_LONGEST_KEY)
        if _VISIBLE.fullmatch(text) is None:
            raise ValidationError(
                "Idempotency-Key must have visible ASCII characters only",
                parameter="Idempotency-Key",
            )
        now = self._clock()
        fresh = IdempotencyRecord(
            tenant_id,
            hashlib.sha256(text.encode()).digest(),
            hashlib.sha256(request).digest(),
            request_id,
            now,
            None,
        )

        def work(writer: StoreWriter) -> IdempotencyRecord | None:
            oldest = now - _REMEMBERED
            found = writer.idempotency.get(tenant_id, fresh.key_hash)
            if found is not None and found.created_at >= oldest:
                return found
            writer.idempotency.forget(tenant_id, oldest)
            writer.idempotency.put(fresh)
            return None

        known = self._store.commit(work, tenant_id=tenant_id)
        return fresh if known is None else self._answer(known, fresh)

    def finish(self, record: IdempotencyRecord, answer: bytes) -> None:
        """Remember the answer of a call."""
        kek_id = self._current_kek()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(record, kek_id).encrypt(nonce, answer, _binding(record))
        stored = bytes([len(kek_id)]) + kek_id.encode() + nonce + sealed
        done = evolve(record, answer=stored)
        self._store.commit(lambda w: w.idempotency.put(done), tenant_id=record.tenant_id)

    def abandon(self, record: IdempotencyRecord) -> None:
        """Forget a call of which nothing was done, so that it can be tried again."""
        gone = evolve(record, created_at=_NEVER)
        self._store.commit(lambda w: w.idempotency.put(gone), tenant_id=record.tenant_id)

    def _answer(self, known: IdempotencyRecord, asked: IdempotencyRecord) -> bytes:
        if known.fingerprint != asked.fingerprint:
            raise ValidationError(
                "Idempotency-Key was used for another request", parameter="Idempotency-Key"
            )
        if known.answer is None:
            raise StateConflict(
                "the first request with this Idempotency-Key is under way or was cut short; the "
                f"audit log tells what became of request {known.request_id}",
                code=UNDER_WAY,
            )
        try:
            end = 1 + known.answer[0]
            kek_id, body = known.answer[1:end].decode(), known.answer[end:]
            nonce, sealed = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
            return self._cipher(known, kek_id).decrypt(nonce, sealed, _binding(known))
        except (InvalidTag, IndexError, ValueError):
            raise IntegrityError("a remembered answer was altered") from None

    def _cipher(self, record: IdempotencyRecord, kek_id: str) -> AESGCM:
        info = b"qpher-idempotency/1\x00" + record.tenant_id.bytes
        return self._ciphers.get(
            (record.tenant_id, kek_id), lambda _: AESGCM(self._protector.derive(kek_id, info))
        )


def _binding(record: IdempotencyRecord) -> bytes:
    return record.tenant_id.bytes + record.key_hash + record.fingerprint + record.request_id.bytes
