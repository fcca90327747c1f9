# SPDX-License-Identifier: Apache-2.0
"""Primitives of RustCrypto through pqcrypto: SLH-DSA, and ML-KEM and ML-DSA beside the C core.

pqcrypto takes expanded private keys only. Seeds are expanded by the C core, so without it this
provider has SLH-DSA alone, whose private keys have no shorter form.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, Final, NoReturn

from pqcrypto import InvalidSignatureError

from qpher_backends.primitives._one_by_one import Decapsulating, Encapsulating, Signing, Verifying
from qpher_backends.primitives._opened import Opened
from qpher_backends.primitives.composite import COMPOSITES, CompositeScheme
from qpher_backends.primitives.xwing import XWingScheme
from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import AlgorithmUnavailable
from qpher_core.protocols import KemScheme, SignatureScheme

__all__ = ["RustCrypto", "provider"]

_KEM_MODULES: Final = {f"ML-KEM-{n}": f"pqcrypto.kem.ml_kem_{n}" for n in (512, 768, 1024)}
_DSA_MODULES: Final = {f"ML-DSA-{n}": f"pqcrypto.sign.ml_dsa_{n}" for n in (44, 65, 87)}
_SLH_MODULES: Final = {
    f"SLH-DSA-SHA2-{n}": f"pqcrypto.sign.slh_dsa_sha2_{n}" for n in ("128s", "128f", "192s", "256s")
}
_LONGEST_CONTEXT: Final = 255
_LONGEST_CONTEXT_MLDSA: Final = 253  # pqcrypto 1.0 counts two bytes of its own

#: Seed to (public key, expanded private key).
Expand = Callable[[bytes], tuple[bytes, bytes]]


def _lacking(what: str) -> NoReturn:
    raise AlgorithmUnavailable(
        f"the primitives provider 'rustcrypto' cannot {what}; open with primitives='native'"
    )


class _Private(Opened):
    """An opened private key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key: bytes | None = key

    def close(self) -> None:
        self._key = None

    def _opened(self) -> bytes:
        if self._key is None:
            raise ValueError("the key is closed")
        return self._key


class _EncapsulationKey(Encapsulating):
    __slots__ = ("_key", "_module")

    def __init__(self, module: ModuleType, key: bytes) -> None:
        self._module = module
        self._key = key

    def encapsulate(self, *, randomness: bytes | None = None) -> tuple[bytes, bytes]:
        if randomness is not None:
            _lacking("encapsulate with given randomness")
        ciphertext, secret = self._module.encaps(self._key)
        return bytes(ciphertext), bytes(secret)


class _DecapsulationKey(_Private, Decapsulating):
    __slots__ = ("_module", "encapsulation_key")

    def __init__(self, module: ModuleType, public_key: bytes, key: bytes) -> None:
        super().__init__(key)
        self._module = module
        self.encapsulation_key = public_key

    def decapsulate(self, ciphertext: bytes) -> bytes:
        if len(ciphertext) != self._module.CIPHERTEXT_SIZE:
            raise ValueError(f"ciphertext must have {self._module.CIPHERTEXT_SIZE} bytes")
        return bytes(self._module.decaps(self._opened(), ciphertext))


class _Kem:
    def __init__(self, name: str, expand: Expand) -> None:
        self._module = importlib.import_module(_KEM_MODULES[name])
        self._row = ALGORITHMS[name]
        self._expand = expand

    def generate_seed(self) -> bytes:
        return os.urandom(self._row.seed_bytes)

    def open_seed(self, seed: bytes) -> _DecapsulationKey:
        return _DecapsulationKey(self._module, *self._expand(seed))

    def open_encapsulation_key(self, data: bytes) -> _EncapsulationKey:
        key = _EncapsulationKey(self._module, _sized(data, self._row.public_key_bytes))
        key.encapsulate()  # makes the modulus check of FIPS 203 section 7.2, or raises
        return key


class _VerificationKey(Verifying):
    __slots__ = ("_key", "_module")

    def __init__(self, module: ModuleType, key: bytes) -> None:
        self._module = module
        self._key = key

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        _check_context(self._module, context)
        if len(signature) != self._module.SIGNATURE_SIZE:
            return False
        try:
            self._module.verify(self._key, message, signature, context)
        except InvalidSignatureError:
            return False
        return True

    def verify_prehash(
        self, digest: bytes, hash_name: str, signature: bytes, *, context: bytes = b""
    ) -> bool:
        _lacking("verify a signature over a digest")


class _SigningKey(_Private, Signing):
    __slots__ = ("_module", "public_key")

    def __init__(self, module: ModuleType, public_key: bytes, key: bytes) -> None:
        super().__init__(key)
        self._module = module
        self.public_key = public_key

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        if deterministic:
            _lacking("sign deterministically")
        _check_context(self._module, context)
        return bytes(self._module.sign(self._opened(), message, context))

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        _lacking("sign a digest")


class _Dsa:
    def __init__(self, name: str, expand: Expand) -> None:
        self._module = importlib.import_module(_DSA_MODULES[name])
        self._row = ALGORITHMS[name]
        self._expand = expand

    def generate_seed(self) -> bytes:
        return os.urandom(self._row.seed_bytes)

    def open_seed(self, seed: bytes) -> _SigningKey:
        return _SigningKey(self._module, *self._expand(seed))

    def open_public_key(self, data: bytes) -> _VerificationKey:
        return _VerificationKey(self._module, _sized(data, self._row.public_key_bytes))


class _Slh:
    """SLH-DSA; the private key is SK.seed ‖ SK.prf ‖ PK.seed ‖ PK.root (FIPS 205, 9.1)."""

    def __init__(self, name: str) -> None:
        self._module = importlib.import_module(_SLH_MODULES[name])
        self._row = ALGORITHMS[name]

    def generate_seed(self) -> bytes:
        _, key = self._module.keygen()
        return bytes(key)

    def open_seed(self, seed: bytes) -> _SigningKey:
        _sized(seed, self._row.seed_bytes)
        return _SigningKey(self._module, seed[-self._row.public_key_bytes :], seed)

    def open_public_key(self, data: bytes) -> _VerificationKey:
        return _VerificationKey(self._module, _sized(data, self._row.public_key_bytes))


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"the key must have {size} bytes, not {len(data)}")
    return data


def _check_context(module: ModuleType, context: bytes) -> None:
    if len(context) > _LONGEST_CONTEXT:
        raise ValueError(f"context must have at most {_LONGEST_CONTEXT} bytes")
    if len(context) > _LONGEST_CONTEXT_MLDSA and module.ALGORITHM.startswith("Mldsa"):
        _lacking(f"take a context of more than {_LONGEST_CONTEXT_MLDSA} bytes for ML-DSA")


class RustCrypto:
    """The provider ``rustcrypto``."""

    name: Final = "rustcrypto"

    def __init__(self) -> None:
        kems: dict[str, KemScheme] = {}
        signatures: dict[str, SignatureScheme] = {name: _Slh(name) for name in _SLH_MODULES}
        try:
            from qpher_native import MLDSA, MLKEM  # noqa: PLC0415 - the C core may not be built
        except ImportError:
            pass
        else:
            kems = {name: _Kem(name, _expander(MLKEM(name))) for name in _KEM_MODULES}
            kems["X-Wing"] = XWingScheme(kems["ML-KEM-768"])
            for name in _DSA_MODULES:
                signatures[name] = _Dsa(name, _expander(MLDSA(name)))
            for name, composite in COMPOSITES.items():
                signatures[name] = CompositeScheme(composite, signatures[composite.mldsa])
        self.kems: Mapping[str, KemScheme] = MappingProxyType(kems)
        self.signatures: Mapping[str, SignatureScheme] = MappingProxyType(signatures)


def _expander(scheme: Any) -> Expand:
    def expand(seed: bytes) -> tuple[bytes, bytes]:
        with scheme.from_seed(seed) as key:
            public = key.encapsulation_key if hasattr(key, "encapsulation_key") else key.public_key
            return bytes(public), key.expanded()

    return expand


def provider() -> RustCrypto:
    """Return the provider; the entry point."""
    return RustCrypto()
