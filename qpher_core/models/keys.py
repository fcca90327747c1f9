# SPDX-License-Identifier: Apache-2.0
"""Key versions, and what a backend persists of them."""

import uuid
from datetime import datetime

from attrs import field, frozen

from qpher_core.lifecycle import KeyState
from qpher_core.models.audit import Receipt
from qpher_core.public_keys import to_jwk, to_pem, to_spki

__all__ = ["KeyRecord", "KeyRef", "KeyVersion"]


@frozen(cache_hash=True)
class KeyRef:
    """Full address of one key version."""

    tenant_id: uuid.UUID
    name: str
    algorithm: str
    version: int

    def __str__(self) -> str:
        return f"{self.algorithm} key {self.name!r} version {self.version}"


@frozen(cache_hash=True)
class KeyVersion:
    """The public side of one key version.

    Attributes:
        revision: counts the changes of this record; opened keys are cached under it.
        changed_at, reason: when and why the state last changed.
        compromised_at: when the key was first marked as compromised. It stays whatever follows,
            so that archiving and restoring does not make a compromised key a good one.
        receipt: of the operation that made or changed it, where it is the result of one; not part
            of what the key is.
    """

    ref: KeyRef
    state: KeyState
    public_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    created_at: datetime
    changed_at: datetime
    reason: str
    revision: int
    compromised_at: datetime | None = None
    receipt: Receipt | None = field(default=None, eq=False, repr=False)

    @property
    def name(self) -> str:
        """Key name; ``default`` unless another was chosen."""
        return self.ref.name

    @property
    def algorithm(self) -> str:
        """Canonical algorithm name."""
        return self.ref.algorithm

    @property
    def version(self) -> int:
        """Version, counted from 1."""
        return self.ref.version

    @property
    def key_version(self) -> int:
        """As :attr:`version`; the name that the Qpher SDK uses."""
        return self.ref.version

    @property
    def status(self) -> str:
        """As :attr:`state`, as text; the name that the Qpher SDK uses."""
        return str(self.state)

    def to_spki(self) -> bytes:
        """Return the public key as DER SubjectPublicKeyInfo (RFC 9881, RFC 9935)."""
        return to_spki(self.algorithm, self.public_key)

    def to_pem(self) -> str:
        """Return the public key as PEM text."""
        return to_pem(self.algorithm, self.public_key)

    def to_jwk(self) -> dict[str, str]:
        """Return the public key as JSON Web Key (RFC 9964); ``ValidationError`` but for ML-DSA."""
        return to_jwk(self.algorithm, self.public_key)


@frozen
class KeyRecord:
    """What a backend persists for one key version.

    Attributes:
        sealed: the seed, sealed under the key encryption key ``kek_id``; None once destroyed.
    """

    key: KeyVersion
    kek_id: str
    sealed: bytes | None = field(repr=False)
