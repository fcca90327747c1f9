# SPDX-License-Identifier: Apache-2.0
"""ML-KEM-512, ML-KEM-768 and ML-KEM-1024 (FIPS 203)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from ._buffers import copied, output, pieces, sized
from ._memory import Pool
from ._native import ffi, lib
from ._threads import split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from ._buffers import Buffer
    from ._native import CData

__all__ = ["MLKEM", "DecapsulationKey", "EncapsulationKey"]

SECRET_BYTES: Final = 32
SEED_BYTES: Final = 64
MESSAGE_BYTES: Final = 32

_SETS: Final = {
    "ML-KEM-512": lib.QPHER_MLKEM_512,
    "ML-KEM-768": lib.QPHER_MLKEM_768,
    "ML-KEM-1024": lib.QPHER_MLKEM_1024,
}
_dk_pool: Final = Pool(
    "qpher_mlkem_dk *", lib.qpher_mlkem_dk_bytes(), wiped=lib.qpher_mlkem_dk_secret_bytes()
)
_ek_pool: Final = Pool("qpher_mlkem_ek *", lib.qpher_mlkem_ek_bytes(), secret=False, wiped=0)
# Looking them up at each call would take longer than some of their parts do.
_take_dk: Final = _dk_pool.take
_generate: Final = lib.qpher_mlkem_generate
_encapsulate: Final = lib.qpher_mlkem_encapsulate
_decapsulate: Final = lib.qpher_mlkem_decapsulate


def _check(result: int, what: str) -> None:
    """Turn an error code of the C core into an exception."""
    if result == lib.QPHER_OK:
        return
    if result == lib.QPHER_ERR_CLOSED:
        raise ValueError(f"the {what} is closed")
    if result == lib.QPHER_ERR_KEY:
        raise ValueError(f"the {what} fails the checks of FIPS 203 section 7")
    if result == lib.QPHER_ERR_RANDOM:
        raise OSError("the operating system gave no randomness")
    raise ValueError(f"the {what} cannot do this (error {result})")


class MLKEM:
    """One parameter set: ``MLKEM("ML-KEM-768")``. Lengths are in bytes."""

    def __init__(self, name: str) -> None:
        if name not in _SETS:
            raise ValueError(f"name must be one of: {', '.join(_SETS)}")
        self.name: Final = name
        self._set: Final = _SETS[name]
        self.encapsulation_key_bytes: Final = lib.qpher_mlkem_ek_length(self._set)
        self.expanded_key_bytes: Final = lib.qpher_mlkem_dk_length(self._set)
        self.ciphertext_bytes: Final = lib.qpher_mlkem_ct_length(self._set)

    def __repr__(self) -> str:
        return f"MLKEM({self.name!r})"

    def generate(self) -> DecapsulationKey:
        """Return a fresh key (Algorithm 19)."""
        slot = _take_dk()
        result = _generate(slot, self._set)
        if result:
            _check(result, "decapsulation key")
        return DecapsulationKey(self, slot)

    def generate_many(self, count: int, *, threads: int = 1) -> list[DecapsulationKey]:
        """Return ``count`` fresh keys."""
        return split(lambda part: self._generate(len(part)), range(_count(count)), threads)

    def _generate(self, count: int) -> list[DecapsulationKey]:
        slots = [_take_dk() for _ in range(count)]
        pointers = ffi.new("qpher_mlkem_dk *[]", slots)
        _check(lib.qpher_mlkem_generate_many(pointers, self._set, count), "decapsulation key")
        return [DecapsulationKey(self, slot) for slot in slots]

    def from_seed(self, seed: Buffer) -> DecapsulationKey:
        """Open the key of a 64-byte seed d ‖ z (Algorithm 16)."""
        data = sized(seed, "seed", SEED_BYTES)
        slot = _take_dk()
        _check(lib.qpher_mlkem_from_seed(slot, self._set, data, SEED_BYTES), "seed")
        return DecapsulationKey(self, slot)

    def from_expanded(self, data: Buffer) -> DecapsulationKey:
        """Open an expanded key, with the checks of FIPS 203 section 7.3, or raise ValueError."""
        size = self.expanded_key_bytes
        key = sized(data, "data", size)
        slot = _take_dk()
        _check(lib.qpher_mlkem_from_expanded(slot, self._set, key, size), "decapsulation key")
        return DecapsulationKey(self, slot)

    def load_encapsulation_key(self, data: Buffer) -> EncapsulationKey:
        """Open an encapsulation key, with the check of section 7.2, or raise ValueError."""
        size = self.encapsulation_key_bytes
        key = sized(data, "data", size)
        slot = _ek_pool.take()
        _check(lib.qpher_mlkem_load_ek(slot, self._set, key, size), "encapsulation key")
        return EncapsulationKey(self, slot, slot)


class EncapsulationKey:
    """An opened encapsulation key; ``bytes(key)`` encodes it."""

    __slots__ = ("_ciphertext_bytes", "_key", "_owner", "_scheme")

    def __init__(self, scheme: MLKEM, key: CData, owner: CData) -> None:
        self._scheme = scheme
        self._key = key
        self._owner = owner  # what the memory belongs to: this key, or a decapsulation key
        self._ciphertext_bytes = scheme.ciphertext_bytes

    def __repr__(self) -> str:
        return f"<EncapsulationKey {self._scheme.name}>"

    def __bytes__(self) -> bytes:
        encoded = output(self._scheme.encapsulation_key_bytes)
        _check(lib.qpher_mlkem_encode_ek(self._key, encoded, len(encoded)), "encapsulation key")
        return encoded

    def encapsulate(self, m: Buffer | None = None) -> tuple[bytes, bytes]:
        """Return (ciphertext, 32-byte shared secret); ``m`` replaces the 32 random bytes."""
        ciphertext, secret = output(self._ciphertext_bytes), output(SECRET_BYTES)
        if m is None:
            result = _encapsulate(self._key, ciphertext, secret)
        else:
            message = sized(m, "m", MESSAGE_BYTES)
            result = lib.qpher_mlkem_encapsulate_with(
                self._key, ciphertext, secret, message, MESSAGE_BYTES
            )
        if result:
            _check(result, "encapsulation key")
        return ciphertext, secret

    def encapsulate_many(self, count: int, *, threads: int = 1) -> list[tuple[bytes, bytes]]:
        """Return ``count`` independent encapsulations."""
        return split(lambda part: self._encapsulate(len(part)), range(_count(count)), threads)

    def _encapsulate(self, count: int) -> list[tuple[bytes, bytes]]:
        if count == 0:
            return []
        size = self._ciphertext_bytes
        ciphertexts, secrets = output(count * size), output(count * SECRET_BYTES)
        result = lib.qpher_mlkem_encapsulate_many(self._key, count, ciphertexts, secrets)
        _check(result, "encapsulation key")
        return list(zip(pieces(ciphertexts, size), pieces(secrets, SECRET_BYTES), strict=True))


class DecapsulationKey:
    """An opened decapsulation key; a context manager. It cannot be pickled or copied."""

    __slots__ = ("_key", "_scheme")

    def __init__(self, scheme: MLKEM, key: CData) -> None:
        self._scheme = scheme
        self._key = key

    def __repr__(self) -> str:
        return f"<DecapsulationKey {self._scheme.name}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("a decapsulation key cannot be pickled or copied")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the key, once no call in another thread uses it any more. Idempotent."""
        self._key = ffi.NULL

    @property
    def encapsulation_key(self) -> EncapsulationKey:
        """The encapsulation key; it shares this key's memory and keeps it alive."""
        key = self._key
        inner = lib.qpher_mlkem_ek_of(key)
        if not inner:
            raise ValueError("the decapsulation key is closed")
        return EncapsulationKey(self._scheme, inner, key)

    def decapsulate(self, ciphertext: Buffer) -> bytes:
        """Return the 32-byte shared secret; a wrong ciphertext gives another one."""
        size = self._scheme.ciphertext_bytes
        data = sized(ciphertext, "ciphertext", size)
        secret = output(SECRET_BYTES)
        result = _decapsulate(self._key, secret, data, size)
        if result:
            _check(result, "decapsulation key")
        return secret

    def decapsulate_many(self, ciphertexts: Sequence[Buffer], *, threads: int = 1) -> list[bytes]:
        """Decapsulate several ciphertexts."""
        size = self._scheme.ciphertext_bytes
        checked = [
            copied(ciphertext, f"ciphertexts[{number}]", size)
            for number, ciphertext in enumerate(ciphertexts)
        ]
        return split(self._decapsulate, checked, threads)

    def _decapsulate(self, ciphertexts: Sequence[bytes]) -> list[bytes]:
        joined, count = b"".join(ciphertexts), len(ciphertexts)
        secrets = output(max(2, count * SECRET_BYTES))
        result = lib.qpher_mlkem_decapsulate_many(self._key, count, secrets, joined, len(joined))
        _check(result, "decapsulation key")
        return list(pieces(secrets[: count * SECRET_BYTES], SECRET_BYTES))

    def seed(self) -> bytes:
        """Return d ‖ z, 64 bytes; ValueError for a key that came from its expanded form."""
        seed = output(SEED_BYTES)
        result = lib.qpher_mlkem_seed(self._key, seed, SEED_BYTES)
        if result == lib.QPHER_ERR_ARGUMENT:
            raise ValueError("a key from its expanded form has no seed")
        _check(result, "decapsulation key")
        return seed

    def expanded(self) -> bytes:
        """Return the expanded key of FIPS 203."""
        data = output(self._scheme.expanded_key_bytes)
        _check(lib.qpher_mlkem_expanded(self._key, data, len(data)), "decapsulation key")
        return data


def _count(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError("count must be an integer")
    if not 0 <= count <= 1 << 16:
        raise ValueError("count must be from 0 to 65536")
    return count
