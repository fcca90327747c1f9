# SPDX-License-Identifier: Apache-2.0
"""Primitives: the schemes of a provider, and the keys that they open."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

__all__ = [
    "DecapsulationKey",
    "EncapsulationKey",
    "KemScheme",
    "Primitives",
    "SignatureScheme",
    "SigningKey",
    "VerificationKey",
]


class EncapsulationKey(Protocol):
    """An opened encapsulation key."""

    def encapsulate(self, *, randomness: bytes | None = None) -> tuple[bytes, bytes]:
        """Return (ciphertext, 32-byte shared secret).

        ``randomness`` replaces the random draw (32 bytes; 64 for X-Wing); providers that cannot
        take it raise ``AlgorithmUnavailable``.
        """

    def encapsulate_many(self, count: int, *, threads: int = 1) -> list[tuple[bytes, bytes]]:
        """Return ``count`` independent encapsulations.

        Of all batches: ``threads`` is how many may compute at once; a provider may use fewer.
        """


class DecapsulationKey(Protocol):
    """An opened private KEM key. It shows and gives away no bytes of itself."""

    @property
    def encapsulation_key(self) -> bytes:
        """The encoded encapsulation key."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte shared secret; a wrong ciphertext gives another one (FIPS 203).

        Raises:
            ValueError: the length is wrong.
            DecryptionFailed: X-Wing only, an all-zero X25519 result.
        """

    def decapsulate_many(self, ciphertexts: Sequence[bytes], *, threads: int = 1) -> list[bytes]:
        """Decapsulate several ciphertexts."""

    def close(self) -> None:
        """Wipe it. Idempotent."""


class VerificationKey(Protocol):
    """An opened public signature key."""

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        """Return whether the signature is valid; False for any malformed signature."""

    def verify_prehash(
        self, digest: bytes, hash_name: str, signature: bytes, *, context: bytes = b""
    ) -> bool:
        """As :meth:`verify`, over a digest (see :meth:`SigningKey.sign_prehash`)."""

    def verify_many(
        self, pairs: Sequence[tuple[bytes, bytes]], *, context: bytes = b"", threads: int = 1
    ) -> list[bool]:
        """Verify several (message, signature) pairs."""


class SigningKey(Protocol):
    """An opened private signature key. It shows and gives away no bytes of itself."""

    @property
    def public_key(self) -> bytes:
        """The encoded public key."""

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        """Sign; hedged unless ``deterministic``. ``context`` has at most 255 bytes."""

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        """Sign a digest: HashML-DSA (FIPS 204 section 5.4), or a composite's own pre-hash.

        Raises:
            ValueError: the hash is not one that the algorithm allows.
        """

    def sign_many(
        self, messages: Sequence[bytes], *, context: bytes = b"", threads: int = 1
    ) -> list[bytes]:
        """Sign several messages."""

    def close(self) -> None:
        """Wipe it. Idempotent."""


class KemScheme(Protocol):
    """One KEM of one provider.

    One that also has ``open_expanded(data)``, as :meth:`open_seed` for the decapsulation key of
    FIPS 203 with the checks of its section 7.3, can be given imported keys in that form.
    """

    def generate_seed(self) -> bytes:
        """Return a fresh private seed."""

    def open_seed(self, seed: bytes) -> DecapsulationKey:
        """Expand a seed. Raises ``ValueError`` for a wrong length."""

    def open_encapsulation_key(self, data: bytes) -> EncapsulationKey:
        """Check (FIPS 203 section 7.2) and open an encapsulation key, or raise ``ValueError``."""


class SignatureScheme(Protocol):
    """One signature algorithm of one provider.

    One that also has ``open_expanded(data)``, as :meth:`open_seed` for the private key of
    FIPS 204, can be given imported keys in that form.
    """

    def generate_seed(self) -> bytes:
        """Return a fresh private seed."""

    def open_seed(self, seed: bytes) -> SigningKey:
        """Expand a seed. Raises ``ValueError`` for a wrong length or form."""

    def open_public_key(self, data: bytes) -> VerificationKey:
        """Open a public key, or raise ``ValueError``."""


@runtime_checkable
class Primitives(Protocol):
    """A provider of algorithms. Thread-safe."""

    @property
    def name(self) -> str:
        """Name of its entry point."""

    @property
    def kems(self) -> Mapping[str, KemScheme]:
        """Its KEMs, by canonical name."""

    @property
    def signatures(self) -> Mapping[str, SignatureScheme]:
        """Its signature algorithms, by canonical name."""
