# SPDX-License-Identifier: Apache-2.0
"""What protects private keys, and what keeps and uses them."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from qpher_core.lifecycle import KeyState
from qpher_core.models import ImportParameters, KeyRef, KeyVersion
from qpher_core.protocols.primitives import (
    DecapsulationKey,
    EncapsulationKey,
    SigningKey,
    VerificationKey,
)
from qpher_core.protocols.store import StoreWriter

__all__ = ["KeyProtector", "KeyStore", "PreparedKey"]


class KeyProtector(Protocol):
    """Holds the key encryption keys (KEKs). They never leave it; keys derived from them do.

    Deriving instead of wrapping lets one method serve files, tokens (HMAC inside the token) and
    cloud services (their MAC operation) alike.
    """

    @property
    def kek_id(self) -> str:
        """Id of the KEK that seals a store that is new; derived from the KEK itself."""

    def derive(self, kek_id: str, info: bytes) -> bytes:
        """Return the 32-byte key derived from a KEK for ``info``.

        Raises:
            ProtectorUnavailable: there is no such KEK, or it cannot be reached; the message
                names the KEK id.
        """

    def close(self) -> None:
        """Forget the KEKs. Idempotent."""


class PreparedKey(Protocol):
    """A fresh private key that is not stored yet."""

    @property
    def algorithm(self) -> str:
        """Canonical algorithm name."""

    @property
    def public_key(self) -> bytes:
        """Encapsulation key or public key."""


class KeyStore(Protocol):
    """Creates, keeps and uses private keys, and returns none."""

    def get(self, ref: KeyRef) -> KeyVersion | None:
        """Return one key version."""

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyVersion | None:
        """Return the active key version."""

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
        """Return the key versions that match; see :meth:`KeyRecords.find`."""

    def open_decapsulation(self, key: KeyVersion) -> DecapsulationKey:
        """Open a KEM key for use.

        Raises:
            ProtectorUnavailable: its key encryption key cannot be had.
            IntegrityError: its record was altered or belongs elsewhere.
        """

    def open_signing(self, key: KeyVersion) -> SigningKey:
        """Open a signature key for use. Errors as :meth:`open_decapsulation`."""

    def open_encapsulation(self, key: KeyVersion) -> EncapsulationKey:
        """Open the public side of a KEM key."""

    def open_verification(self, key: KeyVersion) -> VerificationKey:
        """Open the public side of a signature key."""

    def prepare(self, tenant_id: uuid.UUID, algorithm: str) -> PreparedKey:
        """Generate a private key that :meth:`add` can store for this tenant.

        Raises:
            AlgorithmUnavailable: the primitives provider lacks the algorithm.
            ProtectorUnavailable: it could not be sealed.
        """

    def import_parameters(self, tenant_id: uuid.UUID) -> ImportParameters:
        """Return what a tenant wraps its private keys with."""

    def prepare_import(
        self, tenant_id: uuid.UUID, name: str, algorithm: str, wrapped: bytes
    ) -> PreparedKey:
        """Unwrap and check a private key that :meth:`add` can store under this name.

        Raises:
            DecryptionFailed: it was not wrapped for this tenant, name and algorithm.
            ValidationError: it is no valid private key (FIPS 203 section 7.3, FIPS 204).
            AlgorithmUnavailable, ProtectorUnavailable: as :meth:`prepare`.
        """

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
        """Store a prepared key as the next version, active since ``now``."""

    def warm(self, key: KeyVersion) -> None:
        """Fetch what :meth:`transition` will need, so that no transaction waits for it.

        Raises:
            ProtectorUnavailable: a key encryption key cannot be had.
        """

    def transition(
        self, writer: StoreWriter, key: KeyVersion, to: KeyState, *, now: datetime, reason: str
    ) -> KeyVersion:
        """Move a key to another state; to destroyed, the sealed seed is erased with it.

        Raises:
            StateConflict: the table forbids it, or the record changed meanwhile.
        """

    def confirm(self, writer: StoreWriter, key: KeyVersion) -> bool:
        """Return whether the record is still as ``key`` describes it."""

    def close(self) -> None:
        """Wipe all opened keys. Idempotent."""
