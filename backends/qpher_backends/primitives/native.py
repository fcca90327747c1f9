# SPDX-License-Identifier: Apache-2.0
"""Primitives of the C core, the default."""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from qpher_backends.primitives._opened import Opened
from qpher_backends.primitives.composite import COMPOSITES, CompositeScheme
from qpher_backends.primitives.xwing import XWingScheme
from qpher_core.protocols import KemScheme, SignatureScheme
from qpher_native import cpu_path, mldsa, mlkem

__all__ = ["Native", "provider"]

_KEMS: Final = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
_SIGNATURES: Final = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")

# The classes below narrow the C core's keys to what the engine may use: its low layer can give
# away seeds and expanded keys, these cannot.


class _EncapsulationKey(Opened):
    __slots__ = ("_key",)

    def __init__(self, key: mlkem.EncapsulationKey) -> None:
        self._key = key

    def encapsulate(self, *, randomness: bytes | None = None) -> tuple[bytes, bytes]:
        return self._key.encapsulate(randomness)

    def encapsulate_many(self, count: int, *, threads: int = 1) -> list[tuple[bytes, bytes]]:
        return self._key.encapsulate_many(count, threads=threads)


class _DecapsulationKey(Opened):
    __slots__ = ("_key", "encapsulation_key")

    def __init__(self, key: mlkem.DecapsulationKey) -> None:
        self._key = key
        self.encapsulation_key = bytes(key.encapsulation_key)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return self._key.decapsulate(ciphertext)

    def decapsulate_many(self, ciphertexts: Sequence[bytes], *, threads: int = 1) -> list[bytes]:
        return self._key.decapsulate_many(ciphertexts, threads=threads)

    def close(self) -> None:
        self._key.close()


class _Kem:
    def __init__(self, name: str) -> None:
        self._scheme = mlkem.MLKEM(name)

    def generate_seed(self) -> bytes:
        return os.urandom(64)

    def open_seed(self, seed: bytes) -> _DecapsulationKey:
        return _DecapsulationKey(self._scheme.from_seed(seed))

    def open_expanded(self, data: bytes) -> _DecapsulationKey:
        return _DecapsulationKey(self._scheme.from_expanded(data))

    def open_encapsulation_key(self, data: bytes) -> _EncapsulationKey:
        return _EncapsulationKey(self._scheme.load_encapsulation_key(data))


class _VerificationKey(Opened):
    __slots__ = ("_key",)

    def __init__(self, key: mldsa.VerificationKey) -> None:
        self._key = key

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        return self._key.verify(message, signature, context=context)

    def verify_prehash(
        self, digest: bytes, hash_name: str, signature: bytes, *, context: bytes = b""
    ) -> bool:
        return self._key.verify_prehash(digest, hash_name, signature, context=context)

    def verify_many(
        self, pairs: Sequence[tuple[bytes, bytes]], *, context: bytes = b"", threads: int = 1
    ) -> list[bool]:
        return self._key.verify_many(pairs, context=context, threads=threads)


class _SigningKey(Opened):
    __slots__ = ("_key", "public_key")

    def __init__(self, key: mldsa.SigningKey) -> None:
        self._key = key
        self.public_key = bytes(key.public_key)

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        return self._key.sign(message, context=context, deterministic=deterministic)

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        return self._key.sign_prehash(digest, hash_name, context=context)

    def sign_many(
        self, messages: Sequence[bytes], *, context: bytes = b"", threads: int = 1
    ) -> list[bytes]:
        return self._key.sign_many(messages, context=context, threads=threads)

    def close(self) -> None:
        self._key.close()


class _Dsa:
    def __init__(self, name: str) -> None:
        self._scheme = mldsa.MLDSA(name)

    def generate_seed(self) -> bytes:
        return os.urandom(32)

    def open_seed(self, seed: bytes) -> _SigningKey:
        return _SigningKey(self._scheme.from_seed(seed))

    def open_expanded(self, data: bytes) -> _SigningKey:
        return _SigningKey(self._scheme.from_expanded(data))

    def open_public_key(self, data: bytes) -> _VerificationKey:
        return _VerificationKey(self._scheme.load_public_key(data))


class Native:
    """The provider ``native``.

    Attributes:
        cpu_path: the code path that this CPU gets: ``portable``, ``avx2`` or ``avx512``.
    """

    name: Final = "native"

    def __init__(self) -> None:
        self.cpu_path = cpu_path()
        kems: dict[str, KemScheme] = {name: _Kem(name) for name in _KEMS}
        kems["X-Wing"] = XWingScheme(kems["ML-KEM-768"])
        signatures: dict[str, SignatureScheme] = {name: _Dsa(name) for name in _SIGNATURES}
        for name, composite in COMPOSITES.items():
            signatures[name] = CompositeScheme(composite, signatures[composite.mldsa])
        self.kems: Mapping[str, KemScheme] = MappingProxyType(kems)
        self.signatures: Mapping[str, SignatureScheme] = MappingProxyType(signatures)


def provider() -> Native:
    """Return the provider; the entry point."""
    return Native()
