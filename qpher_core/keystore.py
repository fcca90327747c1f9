# SPDX-License-Identifier: Apache-2.0
"""A key store over plain records: seeds are sealed at rest and opened into provider objects."""

import contextlib
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final, NoReturn, Protocol, overload

from attrs import evolve

from qpher_core._cache import BoundedCache
from qpher_core.algorithms import ALGORITHMS, find
from qpher_core.calls import KeyChanged
from qpher_core.discovery import providers_of
from qpher_core.errors import (
    AlgorithmUnavailable,
    NotFound,
    StateConflict,
    ValidationError,
)
from qpher_core.keks import Keks
from qpher_core.lifecycle import KeyState, check_transition
from qpher_core.models import ImportParameters, KeyRecord, KeyRef, KeyVersion
from qpher_core.protocols import (
    DecapsulationKey,
    EncapsulationKey,
    KemScheme,
    KeyRecords,
    KeyRecordsWriter,
    PreparedKey,
    Primitives,
    SignatureScheme,
    SigningKey,
    Store,
    StoreWriter,
    VerificationKey,
)
from qpher_core.sealing import Sealer, Seed

__all__ = ["SealedKeyStore"]

_OPENED_KEYS: Final = 256
_PROBE: Final = b"qpher-core pairwise consistency"

# What a record's seal covers, besides the seed.
_Slot = tuple[KeyRef, int, KeyState, bytes, datetime | None]


class Importing(Protocol):
    """What unwraps private keys (``qpher_core.importing``)."""

    def parameters(self, tenant_id: uuid.UUID) -> ImportParameters:
        """Return what a tenant wraps private keys with."""

    def unwrap(self, tenant_id: uuid.UUID, name: str, algorithm: str, wrapped: bytes) -> bytes:
        """Return a private key, or raise ``DecryptionFailed``."""


class SealedKeyStore:
    """Implements ``KeyStore`` over the records of a store, a ``Sealer`` and ``Primitives``.

    Args:
        store: where the records are.
        sealer: seals and opens seeds.
        keks: tells which KEK seals.
        primitives: what computes with opened keys.
        service: whether these are the keys of the service itself.
        importer: unwraps private keys that callers bring.
    """

    here = True

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        keks: Keks,
        primitives: Primitives,
        *,
        service: bool = False,
        importer: Importing | None = None,
    ) -> None:
        self._records: KeyRecords = store.service_keys if service else store.keys
        self._writer: Callable[[StoreWriter], KeyRecordsWriter] = attrgetter(
            "service_keys" if service else "keys"
        )
        self._sealer = sealer
        self._keks = keks
        self._primitives = primitives
        self._importer = importer
        # Opened keys are cached under all that is public of their record: whatever changes it, in
        # this process or another, with or without right, makes the next operation miss the cache.
        self._decapsulation: BoundedCache[KeyVersion, DecapsulationKey] = BoundedCache(_OPENED_KEYS)
        self._signing: BoundedCache[KeyVersion, SigningKey] = BoundedCache(_OPENED_KEYS)
        self._encapsulation: BoundedCache[KeyVersion, EncapsulationKey] = BoundedCache(_OPENED_KEYS)
        self._verification: BoundedCache[KeyVersion, VerificationKey] = BoundedCache(_OPENED_KEYS)

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
        after: KeyRef | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyVersion]:
        """Return the key versions that match."""
        records = self._records.find(
            tenant_id, name=name, algorithm=algorithm, state=state, after=after, limit=limit
        )
        return [record.key for record in records]

    def open_decapsulation(self, key: KeyVersion) -> DecapsulationKey:
        """Open a KEM key for use."""
        return self._decapsulation.get(key, self._open_decapsulation)

    def open_signing(self, key: KeyVersion) -> SigningKey:
        """Open a signature key for use."""
        return self._signing.get(key, self._open_signing)

    def open_encapsulation(self, key: KeyVersion) -> EncapsulationKey:
        """Open the public side of a KEM key, once its record authenticates."""
        return self._encapsulation.get(key, self._open_encapsulation)

    def open_verification(self, key: KeyVersion) -> VerificationKey:
        """Open the public side of a signature key, once its record authenticates."""
        return self._verification.get(key, self._open_verification)

    def _open_decapsulation(self, key: KeyVersion) -> DecapsulationKey:
        expand = _opener(self._kem(key.algorithm), key.algorithm)
        return self._sealer.open(self._record(key), expand)

    def _open_signing(self, key: KeyVersion) -> SigningKey:
        expand = _opener(self._signature(key.algorithm), key.algorithm)
        return self._sealer.open(self._record(key), expand)

    def _open_encapsulation(self, key: KeyVersion) -> EncapsulationKey:
        scheme = self._kem(key.algorithm)
        self._sealer.authenticate(self._record(key))
        return scheme.open_encapsulation_key(key.public_key)

    def _open_verification(self, key: KeyVersion) -> VerificationKey:
        scheme = self._signature(key.algorithm)
        self._sealer.authenticate(self._record(key))
        return scheme.open_public_key(key.public_key)

    def prepare(self, tenant_id: uuid.UUID, algorithm: str) -> PreparedKey:
        """Generate a private key; nothing is stored yet."""
        self._sealer.warm(tenant_id, self._keks.ready())
        if algorithm in self._primitives.kems:
            seed = self._kem(algorithm).generate_seed()
        else:
            seed = self._signature(algorithm).generate_seed()
        return Seed(seed, algorithm, self._public_key(algorithm, seed, check=False))

    def import_parameters(self, tenant_id: uuid.UUID) -> ImportParameters:
        """Return what a tenant wraps its private keys with."""
        return self._importing().parameters(tenant_id)

    def prepare_import(
        self, tenant_id: uuid.UUID, name: str, algorithm: str, wrapped: bytes
    ) -> PreparedKey:
        """Unwrap and check a private key; nothing is stored yet."""
        self._sealer.warm(tenant_id, self._keks.ready())
        private = self._importing().unwrap(tenant_id, name, algorithm, wrapped)
        public_key: bytes | None = None
        with contextlib.suppress(ValueError):  # its text could tell something of the key
            public_key = self._public_key(algorithm, private, check=True)
        if public_key is None:
            raise ValidationError(
                f"wrapped must hold a valid private key of {algorithm}", parameter="wrapped"
            )
        return Seed(private, algorithm, public_key)

    def add(
        self,
        writer: StoreWriter,
        tenant_id: uuid.UUID,
        name: str,
        key: PreparedKey,
        *,
        now: datetime,
        reason: str = "",
    ) -> KeyVersion:
        """Store a prepared key as the next version, active."""
        if not isinstance(key, Seed):
            raise ValidationError("key must come from this store's prepare()", parameter="key")
        records = self._writer(writer)
        version = records.next_version(tenant_id, name, key.algorithm)
        ref = KeyRef(tenant_id, name, key.algorithm, version)
        added = KeyVersion(ref, KeyState.ACTIVE, key.public_key, now, now, reason, 1)
        records.insert(self._sealer.seal(added, key, self._keks.sealing(writer)))
        return added

    def warm(self, key: KeyVersion) -> None:
        """Derive what opens and seals a key."""
        for kek_id in {self._record(key).kek_id, self._keks.ready()}:
            self._sealer.warm(key.ref.tenant_id, kek_id)

    def transition(
        self,
        writer: StoreWriter,
        key: KeyVersion,
        to: KeyState,
        *,
        now: datetime,
        reason: str,
    ) -> KeyVersion:
        """Move a key to another state."""
        self._drop(key)
        check_transition(key.state, to, compromised=key.compromised_at is not None)
        records = self._writer(writer)
        record = records.get(key.ref)
        if record is None:
            raise NotFound(f"no {key.ref}", code="ERR_KMS_002")
        changed = evolve(
            key,
            state=to,
            changed_at=now,
            reason=reason,
            revision=key.revision + 1,
            compromised_at=_compromised_at(key, to, now),
        )
        if record.key.revision == key.revision:
            changed_record = self._changed(writer, record, changed)
            replaced = records.replace(changed_record, revision=key.revision)
        else:
            replaced = False
        if not replaced:
            raise StateConflict(f"{key.ref} was changed at the same moment; look again")
        return changed

    def confirm(self, writer: StoreWriter, key: KeyVersion) -> bool:
        """Return whether the record is still as ``key`` describes it."""
        record = self._writer(writer).get(key.ref)
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

    def _public_key(self, algorithm: str, private: bytes, *, check: bool) -> bytes:
        """Return the public key of a private one.

        With ``check`` both are used, one against the other (FIPS 140-3 calls it pairwise
        consistency). Raises ``ValueError`` if the private key is none, or they do not match.
        """
        if algorithm in self._primitives.kems:
            kem = self._kem(algorithm)
            decapsulation = _opener(kem, algorithm)(private)
            try:
                public_key = decapsulation.encapsulation_key
                if check:
                    ciphertext, secret = kem.open_encapsulation_key(public_key).encapsulate()
                    _require(decapsulation.decapsulate(ciphertext) == secret)
            finally:
                decapsulation.close()
            return public_key
        scheme = self._signature(algorithm)
        signing = _opener(scheme, algorithm)(private)
        try:
            public_key = signing.public_key
            if check:
                signature = signing.sign(_PROBE)
                _require(scheme.open_public_key(public_key).verify(_PROBE, signature))
        finally:
            signing.close()
        return public_key

    def _importing(self) -> Importing:
        if self._importer is None:
            raise StateConflict("the service's own keys are not imported")
        return self._importer

    def _changed(self, writer: StoreWriter, record: KeyRecord, key: KeyVersion) -> KeyRecord:
        """Return the record of a key after a change; the seed of a destroyed one is gone."""
        if key.state is KeyState.DESTROYED:
            return KeyRecord(key, record.kek_id, None)
        return self._sealer.reseal(record, key, self._keks.sealing(writer))

    def _drop(self, key: KeyVersion) -> None:
        """Forget the opened key of a record that is about to change.

        It is wiped when the last call that still computes with it is done.
        """
        self._decapsulation.discard(key)
        self._signing.discard(key)

    def _record(self, key: KeyVersion) -> KeyRecord:
        """Return the stored record of a key, if it is still as the pipeline has seen it."""
        record = self._records.get(key.ref)
        if record is None or _slot(record.key) != _slot(key):
            raise KeyChanged
        if record.sealed is None:
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
        hint = f"open with primitives={others[0]!r}" if others else find(algorithm).how_to_get
        raise AlgorithmUnavailable(
            f"the primitives provider {self._primitives.name!r} lacks {algorithm}; {hint}"
        )


_Open = Callable[[bytes], DecapsulationKey | SigningKey]


@overload
def _opener(scheme: KemScheme, algorithm: str) -> Callable[[bytes], DecapsulationKey]: ...
@overload
def _opener(scheme: SignatureScheme, algorithm: str) -> Callable[[bytes], SigningKey]: ...
def _opener(scheme: KemScheme | SignatureScheme, algorithm: str) -> _Open:
    """Return what opens a private key: a seed, or an expanded one, which is much longer."""
    expanded_bytes = ALGORITHMS[algorithm].expanded_bytes

    def expand(private: bytes) -> DecapsulationKey | SigningKey:
        if len(private) != expanded_bytes:
            return scheme.open_seed(private)
        open_expanded: _Open | None = getattr(scheme, "open_expanded", None)
        if open_expanded is None:
            raise AlgorithmUnavailable(
                f"this provider opens {algorithm} keys from seeds only, and this one was imported "
                "in expanded form; open with primitives='native'"
            )
        return open_expanded(private)

    return expand


def _require(consistent: bool) -> None:  # noqa: FBT001 - an assertion that stays
    if not consistent:
        raise ValueError("the public key does not belong to the private key")


def _slot(key: KeyVersion) -> _Slot:
    return key.ref, key.revision, key.state, key.public_key, key.compromised_at


def _compromised_at(key: KeyVersion, to: KeyState, now: datetime) -> datetime | None:
    """Return since when a key counts as compromised, once it is moved to another state."""
    if key.compromised_at is not None:
        return key.compromised_at
    if key.state is KeyState.COMPROMISED:
        return key.changed_at  # a record from before there was this mark
    return now if to is KeyState.COMPROMISED else None
