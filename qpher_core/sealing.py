# SPDX-License-Identifier: Apache-2.0
"""Private seeds and their sealed form: the only code in the engine that sees private bytes.

A sealed record is ``format (1) ‖ nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)`` under a
per-tenant key derived from the key encryption key. Its associated data names the tenant, key
name, algorithm, version and KEK, so that a record moved anywhere else does not open.
"""

import os
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core._cache import BoundedCache
from qpher_core.errors import IntegrityError
from qpher_core.models import KeyRecord, KeyRef, canonical_json
from qpher_core.protocols import KeyProtector

__all__ = ["SealedSeed", "Sealer", "Seed"]

T = TypeVar("T")

_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TENANT_KEYS: Final = 1024  # derived keys kept open


class Seed:
    """A private seed on its way into a sealed record. It cannot be shown, copied or pickled.

    Python cannot wipe the bytes that it held; they are freed with it.
    """

    __slots__ = ("_value", "algorithm", "public_key")

    def __init__(self, value: bytes, algorithm: str, public_key: bytes) -> None:
        self._value = value
        self.algorithm = algorithm
        self.public_key = public_key

    def __repr__(self) -> str:
        return f"<Seed of a {self.algorithm} key>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("a private seed cannot be pickled or copied")

    def reveal(self, use: Callable[[bytes], T]) -> T:
        """Return ``use(seed)``; only :class:`Sealer` calls this."""
        return use(self._value)


class SealedSeed:
    """A sealed seed and the id of the key encryption key that it is sealed under."""

    __slots__ = ("kek_id", "sealed")

    def __init__(self, kek_id: str, sealed: bytes) -> None:
        self.kek_id = kek_id
        self.sealed = sealed


class Sealer:
    """Seals and opens seeds under keys that a protector derives. Thread-safe."""

    def __init__(self, protector: KeyProtector) -> None:
        self._protector = protector
        self._keys: BoundedCache[tuple[uuid.UUID, str], AESGCM] = BoundedCache(_TENANT_KEYS)

    def __repr__(self) -> str:
        return "<Sealer>"

    def warm(self, tenant_id: uuid.UUID) -> None:
        """Derive the tenant's current key now, so that sealing later cannot block or fail."""
        self._tenant_key(tenant_id, self._protector.kek_id)

    def seal(self, ref: KeyRef, seed: Seed) -> SealedSeed:
        """Seal a seed for one address.

        Raises:
            ProtectorUnavailable: the key encryption key cannot be had.
        """
        kek_id = self._protector.kek_id
        nonce = os.urandom(_NONCE_BYTES)
        key, aad = self._tenant_key(ref.tenant_id, kek_id), _associated_data(ref, kek_id)
        return SealedSeed(
            kek_id, _FORMAT + nonce + seed.reveal(lambda s: key.encrypt(nonce, s, aad))
        )

    def open(self, record: KeyRecord, use: Callable[[bytes], T]) -> T:
        """Return ``use(seed)`` for a stored record.

        Raises:
            ProtectorUnavailable: the key encryption key cannot be had.
            IntegrityError: the record was altered, or belongs to another address or KEK.
        """
        ref = record.key.ref
        if record.sealed is None or record.sealed[:1] != _FORMAT:
            raise IntegrityError(f"the sealed seed of {ref} is missing or of an unknown format")
        nonce, sealed = record.sealed[1 : 1 + _NONCE_BYTES], record.sealed[1 + _NONCE_BYTES :]
        key = self._tenant_key(ref.tenant_id, record.kek_id)
        try:
            seed = key.decrypt(nonce, sealed, _associated_data(ref, record.kek_id))
        except (InvalidTag, ValueError):  # ValueError: cut below the length of a nonce or tag
            raise IntegrityError(f"the sealed seed of {ref} does not authenticate") from None
        return use(seed)

    def close(self) -> None:
        """Forget the derived keys."""
        self._keys.clear()

    def _tenant_key(self, tenant_id: uuid.UUID, kek_id: str) -> AESGCM:
        info = b"qpher-core seal 1\x00" + tenant_id.bytes
        return self._keys.get(
            (tenant_id, kek_id), lambda: AESGCM(self._protector.derive(kek_id, info))
        )


def _associated_data(ref: KeyRef, kek_id: str) -> bytes:
    return canonical_json(
        {
            "format": "qpher-seal/1",
            "tenant": str(ref.tenant_id),
            "name": ref.name,
            "algorithm": ref.algorithm,
            "version": ref.version,
            "kek": kek_id,
        }
    )
