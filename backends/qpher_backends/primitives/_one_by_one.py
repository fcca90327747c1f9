# SPDX-License-Identifier: Apache-2.0
"""Batches of keys that do one thing after another."""

from collections.abc import Sequence

from qpher_backends.primitives._opened import Opened
from qpher_core.protocols import DecapsulationKey, EncapsulationKey, SigningKey, VerificationKey

__all__ = ["Decapsulating", "Encapsulating", "Signing", "Verifying"]


class Encapsulating(Opened):
    """A public KEM key."""

    __slots__ = ()

    def encapsulate_many(
        self: EncapsulationKey, count: int, *, threads: int = 1
    ) -> list[tuple[bytes, bytes]]:
        """Return ``count`` independent encapsulations."""
        return [self.encapsulate() for _ in range(count)]


class Decapsulating(Opened):
    """A private KEM key."""

    __slots__ = ()

    def decapsulate_many(
        self: DecapsulationKey, ciphertexts: Sequence[bytes], *, threads: int = 1
    ) -> list[bytes]:
        """Decapsulate several ciphertexts."""
        return [self.decapsulate(ciphertext) for ciphertext in ciphertexts]


class Verifying(Opened):
    """A public signature key."""

    __slots__ = ()

    def verify_many(
        self: VerificationKey,
        pairs: Sequence[tuple[bytes, bytes]],
        *,
        context: bytes = b"",
        threads: int = 1,
    ) -> list[bool]:
        """Verify several (message, signature) pairs."""
        return [self.verify(message, signature, context=context) for message, signature in pairs]


class Signing(Opened):
    """A private signature key."""

    __slots__ = ()

    def sign_many(
        self: SigningKey, messages: Sequence[bytes], *, context: bytes = b"", threads: int = 1
    ) -> list[bytes]:
        """Sign several messages."""
        return [self.sign(message, context=context) for message in messages]
