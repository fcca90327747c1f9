# SPDX-License-Identifier: Apache-2.0
"""ML-DSA-44, ML-DSA-65 and ML-DSA-87 (FIPS 204)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from ._buffers import any_size, at_most, output, sized
from ._fork import lock_across_fork
from ._mldsa import (
    MAX_BATCH,
    MAX_CONTEXT_BYTES,
    MU_BYTES,
    PREHASHES,
    RANDOMNESS_BYTES,
    SEED_BYTES,
    SETS,
    check,
    checked_digest,
    chosen_randomness,
    joined,
    pk_pools,
    sk_pools,
)
from ._mldsa_public import MuHasher, VerificationKey
from ._native import ffi, lib
from ._threads import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from ._buffers import Buffer
    from ._native import Bytes, CData

__all__ = ["MLDSA", "PREHASHES", "SETS", "MuHasher", "SigningKey", "VerificationKey"]

_sign: Final = lib.qpher_mldsa_sign
_sign_mu: Final = lib.qpher_mldsa_sign_mu
_preparing: Final = lock_across_fork()


class MLDSA:
    """One parameter set: ``MLDSA("ML-DSA-65")``. Lengths are in bytes."""

    def __init__(self, name: str) -> None:
        if name not in SETS:
            raise ValueError(f"name must be one of {', '.join(SETS)}, not {name!r}")
        number = SETS[name]
        self.name: Final = name
        self.public_key_bytes: Final = lib.qpher_mldsa_public_key_len(number)
        self.expanded_key_bytes: Final = lib.qpher_mldsa_expanded_len(number)
        self.signature_bytes: Final = lib.qpher_mldsa_signature_len(number)
        self._set: Final = number
        self._sk_pool: Final = sk_pools[number]
        self._pk_pool: Final = pk_pools[number]

    def __repr__(self) -> str:
        return f"MLDSA({self.name!r})"

    def generate(self) -> SigningKey:
        """Return a fresh key (algorithm 1)."""
        slot = self._sk_pool.take()
        check(lib.qpher_mldsa_generate(slot, self._set), "signing key")
        return SigningKey(self, slot)

    def generate_many(self, count: int, *, threads: int = 1) -> list[SigningKey]:
        """Return ``count`` fresh keys."""
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"count must be an integer, not {type(count).__name__}")
        if not 0 <= count <= MAX_BATCH:
            raise ValueError(f"count must be from 0 to {MAX_BATCH}, not {count}")
        return split(lambda part: self._generate(len(part)), range(count), threads)

    def _generate(self, count: int) -> list[SigningKey]:
        slots = [self._sk_pool.take() for _ in range(count)]
        pointers = ffi.new("qpher_mldsa_sk *[]", slots)
        check(lib.qpher_mldsa_generate_many(pointers, self._set, count), "signing key")
        return [SigningKey(self, slot) for slot in slots]

    def from_seed(self, seed: Buffer) -> SigningKey:
        """Open the key of a 32-byte seed (algorithm 6)."""
        data = sized(seed, "seed", SEED_BYTES)
        slot = self._sk_pool.take()
        check(lib.qpher_mldsa_from_seed(slot, self._set, data, SEED_BYTES), "signing key")
        return SigningKey(self, slot)

    def from_expanded(self, data: Buffer) -> SigningKey:
        """Open an expanded key; ValueError unless its parts belong together."""
        key = sized(data, "data", self.expanded_key_bytes)
        slot = self._sk_pool.take()
        check(lib.qpher_mldsa_from_expanded(slot, self._set, key, len(key)), "signing key")
        return SigningKey(self, slot)

    def load_public_key(self, data: Buffer) -> VerificationKey:
        """Open an encoded public key."""
        key = sized(data, "data", self.public_key_bytes)
        slot = self._pk_pool.take()
        check(lib.qpher_mldsa_load_public_key(slot, self._set, key, len(key)), "public key")
        return VerificationKey(self, slot)


class SigningKey:
    """An opened signing key; a context manager. It cannot be pickled or copied.

    Signatures are hedged: fresh randomness goes into each. ``deterministic=True`` leaves it out
    (FIPS 204 section 3.4), and ``randomness`` of 32 bytes replaces it, for tests.
    """

    __slots__ = ("_key", "_prepared", "_public_key", "_scheme", "_signature_bytes")

    def __init__(self, scheme: MLDSA, key: CData) -> None:
        self._scheme = scheme
        self._key = key
        self._prepared = False
        self._signature_bytes = scheme.signature_bytes
        self._public_key: VerificationKey | None = None

    def __repr__(self) -> str:
        return f"<SigningKey {self._scheme.name}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the key, once no call in another thread uses it any more. Idempotent."""
        self._key = ffi.NULL

    def _opened(self) -> CData:
        """The key with what signing needs beyond key generation, which the first call makes."""
        if not self._prepared:
            with _preparing:
                if not self._prepared:
                    check(lib.qpher_mldsa_prepare(self._key), "signing key")
                    self._prepared = True
        return self._key

    @property
    def public_key(self) -> VerificationKey:
        """The public key, an object of its own that outlives this one."""
        if self._public_key is None or not self._key:
            slot = self._scheme._pk_pool.take()  # noqa: SLF001 (same module)
            check(lib.qpher_mldsa_public_key(slot, self._key), "signing key")
            self._public_key = VerificationKey(self._scheme, slot)
        return self._public_key

    def sign(
        self,
        message: Buffer,
        *,
        context: Buffer = b"",
        deterministic: bool = False,
        randomness: Buffer | None = None,
    ) -> bytes:
        """Return a signature of ``message`` (algorithm 2)."""
        data = any_size(message, "message")
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        rnd, rnd_size = chosen_randomness(deterministic, randomness)
        size = self._signature_bytes
        sig = output(size)
        error = _sign(self._opened(), sig, size, data, len(data), ctx, len(ctx), rnd, rnd_size)
        if error:
            check(error, "signing key")
        return sig

    def sign_mu(
        self, mu: Buffer, *, deterministic: bool = False, randomness: Buffer | None = None
    ) -> bytes:
        """Return a signature for a message representative of 64 bytes (algorithm 7)."""
        data = sized(mu, "mu", MU_BYTES)
        rnd, rnd_size = chosen_randomness(deterministic, randomness)
        sig = output(self._signature_bytes)
        check(_sign_mu(self._opened(), sig, len(sig), data, MU_BYTES, rnd, rnd_size), "signing key")
        return sig

    def sign_prehash(
        self,
        digest: Buffer,
        name: str,
        *,
        context: Buffer = b"",
        deterministic: bool = False,
        randomness: Buffer | None = None,
    ) -> bytes:
        """Return a signature of a digest that the hash function ``name`` made (algorithm 4)."""
        number, data = checked_digest(digest, name)
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        rnd, rnd_size = chosen_randomness(deterministic, randomness)
        sig = output(self._signature_bytes)
        error = lib.qpher_mldsa_sign_prehash(
            self._opened(), sig, len(sig), number, data, len(data), ctx, len(ctx), rnd, rnd_size
        )
        check(error, "signing key")
        return sig

    def sign_many(
        self,
        messages: Iterable[Buffer],
        *,
        context: Buffer = b"",
        deterministic: bool = False,
        threads: int = 1,
    ) -> list[bytes]:
        """``sign`` for each message, sharing SIMD lanes between them."""
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        size = self._signature_bytes
        checked = [any_size(message, "message") for message in messages]

        def work(part: Sequence[Bytes]) -> list[bytes]:
            if not part:
                return []
            whole, lengths = joined(part)
            rnds = bytes(RANDOMNESS_BYTES * len(part)) if deterministic else ffi.NULL
            rnds_size = RANDOMNESS_BYTES * len(part) if deterministic else 0
            sigs = output(size * len(part))
            error = lib.qpher_mldsa_sign_many(
                self._opened(), len(part), sigs, len(sigs), whole, len(whole), lengths, ctx,
                len(ctx), rnds, rnds_size,
            )  # fmt: skip
            check(error, "signing key")
            return [sigs[at : at + size] for at in range(0, len(sigs), size)]

        return split(work, checked, threads)

    def seed(self) -> bytes:
        """Return the 32-byte seed; ValueError for a key that came from its expanded form."""
        seed = output(SEED_BYTES)
        error = lib.qpher_mldsa_seed(self._key, seed, SEED_BYTES)
        if error == lib.QPHER_ERR_KEY:
            raise ValueError("a key from its expanded form has no seed")
        check(error, "signing key")
        return seed

    def expanded(self) -> bytes:
        """Return the expanded key of FIPS 204 (algorithm 24)."""
        data = output(self._scheme.expanded_key_bytes)
        check(lib.qpher_mldsa_expanded(self._opened(), data, len(data)), "signing key")
        return data
