# SPDX-License-Identifier: Apache-2.0
"""Primitives of OpenSSL through pyca/cryptography: no compiler needed, no ML-KEM-512."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from qpher_backends.primitives._mldsa import prehash_mu
from qpher_backends.primitives._one_by_one import Decapsulating, Encapsulating, Signing, Verifying
from qpher_backends.primitives.composite import COMPOSITES, CompositeScheme
from qpher_backends.primitives.xwing import XWingScheme
from qpher_core.errors import AlgorithmUnavailable
from qpher_core.protocols import KemScheme, SignatureScheme

__all__ = ["OpenSSL", "provider"]

_KemPrivate = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
_KemPublic = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
_DsaPrivate = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
_DsaPublic = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey


class _EncapsulationKey(Encapsulating):
    __slots__ = ("_key",)

    def __init__(self, key: _KemPublic) -> None:
        self._key = key

    def encapsulate(self, *, randomness: bytes | None = None) -> tuple[bytes, bytes]:
        if randomness is not None:
            raise AlgorithmUnavailable(
                "the primitives provider 'openssl' cannot encapsulate with given randomness; "
                "open with primitives='native'"
            )
        secret, ciphertext = self._key.encapsulate()
        return ciphertext, secret


class _DecapsulationKey(Decapsulating):
    __slots__ = ("_key", "encapsulation_key")

    def __init__(self, key: _KemPrivate) -> None:
        self._key: _KemPrivate | None = key
        self.encapsulation_key = key.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        if self._key is None:
            raise ValueError("the key is closed")
        return self._key.decapsulate(ciphertext)

    def close(self) -> None:
        self._key = None  # OpenSSL wipes the key when its last reference goes


class _Kem:
    def __init__(self, private: type[_KemPrivate], public: type[_KemPublic]) -> None:
        self._private = private
        self._public = public

    def generate_seed(self) -> bytes:
        return os.urandom(64)

    def open_seed(self, seed: bytes) -> _DecapsulationKey:
        return _DecapsulationKey(self._private.from_seed_bytes(seed))

    def open_encapsulation_key(self, data: bytes) -> _EncapsulationKey:
        return _EncapsulationKey(self._public.from_public_bytes(data))


class _VerificationKey(Verifying):
    __slots__ = ("_encoded", "_key")

    def __init__(self, key: _DsaPublic) -> None:
        self._key = key
        self._encoded = key.public_bytes_raw()

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        try:
            self._key.verify(signature, message, context)
        except InvalidSignature:
            return False
        return True

    def verify_prehash(
        self, digest: bytes, hash_name: str, signature: bytes, *, context: bytes = b""
    ) -> bool:
        try:
            self._key.verify_mu(signature, prehash_mu(self._encoded, digest, hash_name, context))
        except InvalidSignature:
            return False
        return True


class _SigningKey(Signing):
    __slots__ = ("_key", "public_key")

    def __init__(self, key: _DsaPrivate) -> None:
        self._key: _DsaPrivate | None = key
        self.public_key = key.public_key().public_bytes_raw()

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        if deterministic:
            raise AlgorithmUnavailable(
                "the primitives provider 'openssl' cannot sign deterministically; "
                "open with primitives='native'"
            )
        return self._opened().sign(message, context)

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        return self._opened().sign_mu(prehash_mu(self.public_key, digest, hash_name, context))

    def close(self) -> None:
        self._key = None  # OpenSSL wipes the key when its last reference goes

    def _opened(self) -> _DsaPrivate:
        if self._key is None:
            raise ValueError("the key is closed")
        return self._key


class _Dsa:
    def __init__(self, private: type[_DsaPrivate], public: type[_DsaPublic]) -> None:
        self._private = private
        self._public = public

    def generate_seed(self) -> bytes:
        return os.urandom(32)

    def open_seed(self, seed: bytes) -> _SigningKey:
        return _SigningKey(self._private.from_seed_bytes(seed))

    def open_public_key(self, data: bytes) -> _VerificationKey:
        return _VerificationKey(self._public.from_public_bytes(data))


class OpenSSL:
    """The provider ``openssl``."""

    name: Final = "openssl"

    def __init__(self) -> None:
        kem768 = _Kem(mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey)
        kem1024 = _Kem(mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey)
        dsa: dict[str, SignatureScheme] = {
            "ML-DSA-44": _Dsa(mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
            "ML-DSA-65": _Dsa(mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
            "ML-DSA-87": _Dsa(mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
        }
        self.kems: Mapping[str, KemScheme] = MappingProxyType(
            {"ML-KEM-768": kem768, "ML-KEM-1024": kem1024, "X-Wing": XWingScheme(kem768)}
        )
        self.signatures: Mapping[str, SignatureScheme] = MappingProxyType(
            dsa | {name: CompositeScheme(c, dsa[c.mldsa]) for name, c in COMPOSITES.items()}
        )


def provider() -> OpenSSL:
    """Return the provider; the entry point."""
    return OpenSSL()
