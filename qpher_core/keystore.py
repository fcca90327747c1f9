# SPDX-License-Identifier: Apache-2.0
"""A key store over plain records: seeds are sealed at rest and opened into provider objects."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NoReturn, TypeVar

from attrs import evolve

from qpher_core._cache import BoundedCache
from qpher_core.discovery import providers_of
from qpher_core.errors import (
    AlgorithmUnavailable,
    IntegrityError,
    NotFound,
    StateConflict,
    ValidationError,
)
from qpher_core.lifecycle import KeyState, check_transition
from qpher_core.models import KeyRecord, KeyRef, KeyVersion
from qpher_core.protocols import (
    DecapsulationKey,
    EncapsulationKey,
    KemScheme,
    KeyProtector,
    KeyRecords,
    KeyRecordsWriter,
    PreparedKey,
    Primitives,
    SignatureScheme,
    SigningKey,
    VerificationKey,
)
from qpher_core.sealing import Sealer, Seed

__all__ = ["SealedKeyStore"]

_OPENED_KEYS: Final = 256

# Opened keys are cached under the revision of their record: whatever changes the record, in
# this process or another, makes the next operation miss the cache.
_Slot = tuple[KeyRef, int]

Opened = TypeVar("Opened", DecapsulationKey, SigningKey)


class SealedKeyStore:
    """Implements ``KeyStore`` over ``KeyRecords``, a ``KeyProtector`` and ``Primitives``."""

    def __init__(
        self, records: KeyRecords, protector: KeyProtector, primitives: Primitives
    ) -> None:
        self._records = records
        self._sealer = Sealer(protector)
        self._primitives = primitives
        self._decapsulation: BoundedCache[_Slot, DecapsulationKey] = BoundedCache(_OPENED_KEYS)
        self._signing: BoundedCache[_Slot, SigningKey] = BoundedCache(_OPENED_KEYS)
        self._encapsulation: BoundedCache[_Slot, EncapsulationKey] = BoundedCache(_OPENED_KEYS)
        self._verification: BoundedCache[_Slot, VerificationKey] = BoundedCache(_OPENED_KEYS)

    def get(self, ref: KeyRef) -> KeyVersion | None:
        """Return one key version."""
        record = self._records.get(ref)
        return None if record is None else record.key

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyVersion | None:
        """Return the active key version."""
        record = self._records.active(tenant_id, name, algorithm)
        return None if record is None else record.key

    def find(
        self,
        tenant_id: uuid.UUID,
        *,
        name: str | None = None,
        algorithm: str | None = None,
        state: KeyState | None = None,
    ) -> Sequence[KeyVersion]:
        """Return the key versions that match."""
        records = self._records.find(tenant_id, name=name, algorithm=algorithm, state=state)
        return [record.key for record in records]

    def open_decapsulation(self, key: KeyVersion) -> DecapsulationKey:
        """Open a KEM key for use."""
        scheme = self._kem(key.algorithm)

        def make() -> DecapsulationKey:
            opened = self._sealer.open(self._record(key), scheme.open_seed)
            return _matching(key, opened, opened.encapsulation_key)

        return self._decapsulation.get((key.ref, key.revision), make)

    def open_signing(self, key: KeyVersion) -> SigningKey:
        """Open a signature key for use."""
        scheme = self._signature(key.algorithm)

        def make() -> SigningKey:
            opened = self._sealer.open(self._record(key), scheme.open_seed)
            return _matching(key, opened, opened.public_key)

        return self._signing.get((key.ref, key.revision), make)

    def open_encapsulation(self, key: KeyVersion) -> EncapsulationKey:
        """Open the public side of a KEM key."""
        scheme = self._kem(key.algorithm)
        return self._encapsulation.get(
            (key.ref, key.revision), lambda: scheme.open_encapsulation_key(key.public_key)
        )

    def open_verification(self, key: KeyVersion) -> VerificationKey:
        """Open the public side of a signature key."""
        scheme = self._signature(key.algorithm)
        return self._verification.get(
            (key.ref, key.revision), lambda: scheme.open_public_key(key.public_key)
        )

    def prepare(self, tenant_id: uuid.UUID, algorithm: str) -> PreparedKey:
        """Generate a private key; nothing is stored yet."""
        self._sealer.warm(tenant_id)
        if algorithm in self._primitives.kems:
            kem = self._kem(algorithm)
            seed = kem.generate_seed()
            decapsulation = kem.open_seed(seed)
            public_key = decapsulation.encapsulation_key
            decapsulation.close()
        else:
            scheme = self._signature(algorithm)
            seed = scheme.generate_seed()
            signing = scheme.open_seed(seed)
            public_key = signing.public_key
            signing.close()
        return Seed(seed, algorithm, public_key)

    def add(
        self,
        writer: KeyRecordsWriter,
        tenant_id: uuid.UUID,
        name: str,
        key: PreparedKey,
        *,
        now: datetime,
    ) -> KeyVersion:
        """Store a prepared key as the next version, active."""
        if not isinstance(key, Seed):
            raise ValidationError("key must come from this store's prepare()", parameter="key")
        version = writer.next_version(tenant_id, name, key.algorithm)
        ref = KeyRef(tenant_id, name, key.algorithm, version)
        sealed = self._sealer.seal(ref, key)
        added = KeyVersion(ref, KeyState.ACTIVE, key.public_key, now, now, "", 1)
        writer.insert(KeyRecord(added, sealed.kek_id, sealed.sealed))
        return added

    def transition(
        self,
        writer: KeyRecordsWriter,
        key: KeyVersion,
        to: KeyState,
        *,
        now: datetime,
        reason: str,
    ) -> KeyVersion:
        """Move a key to another state."""
        check_transition(key.state, to)
        record = writer.get(key.ref)
        if record is None:
            raise NotFound(f"no {key.ref}", code="ERR_KMS_002")
        changed = evolve(key, state=to, changed_at=now, reason=reason, revision=key.revision + 1)
        sealed = None if to is KeyState.DESTROYED else record.sealed
        if not writer.replace(KeyRecord(changed, record.kek_id, sealed), revision=key.revision):
            raise StateConflict(f"{key.ref} was changed at the same moment; look again")
        return changed

    def confirm(self, writer: KeyRecordsWriter, key: KeyVersion) -> bool:
        """Return whether the record is still as ``key`` describes it."""
        record = writer.get(key.ref)
        return record is not None and record.key.revision == key.revision

    def close(self) -> None:
        """Wipe all opened keys."""
        for decapsulation in self._decapsulation.clear():
            decapsulation.close()
        for signing in self._signing.clear():
            signing.close()
        self._encapsulation.clear()
        self._verification.clear()
        self._sealer.close()

    def _record(self, key: KeyVersion) -> KeyRecord:
        record = self._records.get(key.ref)
        if record is None or record.sealed is None:
            raise StateConflict(f"{key.ref} has no private part any more")
        return record

    def _kem(self, algorithm: str) -> KemScheme:
        scheme = self._primitives.kems.get(algorithm)
        return scheme if scheme is not None else self._lacking(algorithm)

    def _signature(self, algorithm: str) -> SignatureScheme:
        scheme = self._primitives.signatures.get(algorithm)
        return scheme if scheme is not None else self._lacking(algorithm)

    def _lacking(self, algorithm: str) -> NoReturn:
        others = providers_of(algorithm)
        hint = f"open with primitives={others[0]!r}" if others else "no installed provider has it"
        raise AlgorithmUnavailable(
            f"the primitives provider {self._primitives.name!r} lacks {algorithm}; {hint}"
        )


def _matching(key: KeyVersion, opened: Opened, public_key: bytes) -> Opened:
    """Return ``opened`` if it belongs to the stored public key, which is not sealed."""
    if public_key == key.public_key:
        return opened
    opened.close()
    raise IntegrityError(f"the public key of {key.ref} does not belong to its private key")
