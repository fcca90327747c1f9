# SPDX-License-Identifier: Apache-2.0
"""Private seeds and their sealed form: the only code in the engine that sees private bytes.

A sealed record is ``format (1) ‖ nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)`` under a
per-tenant key derived from the key encryption key. Its associated data is the whole record that
matters: tenant, key name, algorithm, version, state, revision, since when it is compromised,
public key and KEK. A record that was moved anywhere else, or whose public key or state was
altered, does not open.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core._cache import BoundedCache
from qpher_core.errors import IntegrityError
from qpher_core.models import KeyRecord, KeyVersion, canonical_json, rfc3339
from qpher_core.protocols import KeyProtector

__all__ = ["Sealer", "Seed"]

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


class Sealer:
    """Seals and opens seeds under keys that a protector derives. Thread-safe."""

    def __init__(self, protector: KeyProtector) -> None:
        self._protector = protector
        self._keys: BoundedCache[tuple[uuid.UUID, str], AESGCM] = BoundedCache(_TENANT_KEYS)

    def __repr__(self) -> str:
        return "<Sealer>"

    def warm(self, tenant_id: uuid.UUID, kek_id: str) -> None:
        """Derive a tenant's key now, so that sealing or opening later cannot block or fail."""
        self._tenant_key(tenant_id, kek_id)

    def seal(self, key: KeyVersion, seed: Seed, kek_id: str) -> KeyRecord:
        """Return the record of a key version as it is described, its seed sealed under a KEK.

        Raises:
            ProtectorUnavailable: the key encryption key cannot be had.
        """
        return seed.reveal(lambda value: self._seal(key, value, kek_id))

    def reseal(self, record: KeyRecord, changed: KeyVersion, kek_id: str) -> KeyRecord:
        """Return the record of the same key version, changed. Errors as :meth:`open`."""
        return self.open(record, lambda value: self._seal(changed, value, kek_id))

    def open(self, record: KeyRecord, use: Callable[[bytes], T]) -> T:
        """Return ``use(seed)`` for a stored record.

        Raises:
            ProtectorUnavailable: the key encryption key cannot be had.
            IntegrityError: the record was altered, or belongs to another address or KEK.
        """
        key = record.key
        if record.sealed is None or record.sealed[:1] != _FORMAT:
            raise IntegrityError(f"the sealed seed of {key.ref} is missing or of an unknown format")
        nonce, sealed = record.sealed[1 : 1 + _NONCE_BYTES], record.sealed[1 + _NONCE_BYTES :]
        cipher = self._tenant_key(key.ref.tenant_id, record.kek_id)
        seed: bytes | None = None
        with contextlib.suppress(InvalidTag, ValueError):  # ValueError: shorter than a tag
            seed = cipher.decrypt(nonce, sealed, _associated_data(key, record.kek_id))
        if seed is None:
            raise IntegrityError(
                f"the record of {key.ref} does not authenticate: its seed, public key or state "
                "was altered"
            )
        return use(seed)

    def authenticate(self, record: KeyRecord) -> None:
        """Check that a record is as it was stored. Errors as :meth:`open`."""
        self.open(record, lambda _: None)

    def close(self) -> None:
        """Forget the derived keys."""
        self._keys.clear()

    def _seal(self, key: KeyVersion, seed: bytes, kek_id: str) -> KeyRecord:
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._tenant_key(key.ref.tenant_id, kek_id)
        sealed = cipher.encrypt(nonce, seed, _associated_data(key, kek_id))
        return KeyRecord(key, kek_id, _FORMAT + nonce + sealed)

    def _tenant_key(self, tenant_id: uuid.UUID, kek_id: str) -> AESGCM:
        return self._keys.get((tenant_id, kek_id), self._derive)

    def _derive(self, whose: tuple[uuid.UUID, str]) -> AESGCM:
        tenant_id, kek_id = whose
        info = b"qpher-core seal 1\x00" + tenant_id.bytes
        return AESGCM(self._protector.derive(kek_id, info))


def _associated_data(key: KeyVersion, kek_id: str) -> bytes:
    document: dict[str, object] = {
        "format": "qpher-seal/1",
        "tenant": str(key.ref.tenant_id),
        "name": key.name,
        "algorithm": key.algorithm,
        "version": key.version,
        "state": str(key.state),
        "revision": key.revision,
        "public_key": hashlib.sha256(key.public_key).hexdigest(),
        "kek": kek_id,
    }
    if key.compromised_at is not None:
        document["compromised_at"] = rfc3339(key.compromised_at)
    return canonical_json(document)
