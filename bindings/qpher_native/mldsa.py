# SPDX-License-Identifier: Apache-2.0
"""ML-DSA-44, ML-DSA-65 and ML-DSA-87 (FIPS 204)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from ._buffers import any_size, at_most, output, sized
from ._memory import Pool
from ._native import ffi, lib
from ._threads import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from ._buffers import Buffer
    from ._native import Bytes, CData

__all__ = ["MLDSA", "MuHasher", "SigningKey", "VerificationKey"]

SEED_BYTES: Final = 32
MU_BYTES: Final = 64
RANDOMNESS_BYTES: Final = 32
MAX_CONTEXT_BYTES: Final = 255
MAX_BATCH: Final = 1 << 16

SETS: Final = {
    "ML-DSA-44": lib.QPHER_MLDSA_44,
    "ML-DSA-65": lib.QPHER_MLDSA_65,
    "ML-DSA-87": lib.QPHER_MLDSA_87,
}
# Hash functions of HashML-DSA, and how long the digest is that FIPS 204 takes from each.
PREHASHES: Final = {
    "SHA-256": (lib.QPHER_MLDSA_SHA256, 32),
    "SHA-384": (lib.QPHER_MLDSA_SHA384, 48),
    "SHA-512": (lib.QPHER_MLDSA_SHA512, 64),
    "SHA3-256": (lib.QPHER_MLDSA_SHA3_256, 32),
    "SHA3-384": (lib.QPHER_MLDSA_SHA3_384, 48),
    "SHA3-512": (lib.QPHER_MLDSA_SHA3_512, 64),
    "SHAKE128": (lib.QPHER_MLDSA_SHAKE128, 32),
    "SHAKE256": (lib.QPHER_MLDSA_SHAKE256, 64),
}

_NULL: Final = ffi.NULL
_ZEROS: Final = bytes(RANDOMNESS_BYTES)
_INVALID: Final = lib.QPHER_ERR_SIGNATURE
_sign: Final = lib.qpher_mldsa_sign
_sign_mu: Final = lib.qpher_mldsa_sign_mu
_verify: Final = lib.qpher_mldsa_verify
_verify_mu: Final = lib.qpher_mldsa_verify_mu

_sk_pools: Final = {
    number: Pool("qpher_mldsa_sk *", lib.qpher_mldsa_sk_bytes(number)) for number in SETS.values()
}
_pk_pools: Final = {
    number: Pool("qpher_mldsa_pk *", lib.qpher_mldsa_pk_bytes(number), secret=False)
    for number in SETS.values()
}
_mu_pool: Final = Pool("qpher_mldsa_mu *", lib.qpher_mldsa_mu_bytes())


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
        self._sk_pool: Final = _sk_pools[number]
        self._pk_pool: Final = _pk_pools[number]

    def __repr__(self) -> str:
        return f"MLDSA({self.name!r})"

    def generate(self) -> SigningKey:
        """Return a fresh key (algorithm 1)."""
        slot = self._sk_pool.take()
        _check(lib.qpher_mldsa_generate(slot, self._set), "signing key")
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
        _check(lib.qpher_mldsa_generate_many(pointers, self._set, count), "signing key")
        return [SigningKey(self, slot) for slot in slots]

    def from_seed(self, seed: Buffer) -> SigningKey:
        """Open the key of a 32-byte seed (algorithm 6)."""
        data = sized(seed, "seed", SEED_BYTES)
        slot = self._sk_pool.take()
        _check(lib.qpher_mldsa_from_seed(slot, self._set, data, SEED_BYTES), "signing key")
        return SigningKey(self, slot)

    def from_expanded(self, data: Buffer) -> SigningKey:
        """Open an expanded key; ValueError unless its parts belong together."""
        key = sized(data, "data", self.expanded_key_bytes)
        slot = self._sk_pool.take()
        _check(lib.qpher_mldsa_from_expanded(slot, self._set, key, len(key)), "signing key")
        return SigningKey(self, slot)

    def load_public_key(self, data: Buffer) -> VerificationKey:
        """Open an encoded public key."""
        key = sized(data, "data", self.public_key_bytes)
        slot = self._pk_pool.take()
        _check(lib.qpher_mldsa_load_public_key(slot, self._set, key, len(key)), "public key")
        return VerificationKey(self, slot)


class VerificationKey:
    """An opened public key; ``bytes(key)`` encodes it."""

    __slots__ = ("_key", "_scheme", "_signature_bytes")

    def __init__(self, scheme: MLDSA, key: CData) -> None:
        self._scheme = scheme
        self._key = key
        self._signature_bytes = scheme.signature_bytes

    def __repr__(self) -> str:
        return f"<VerificationKey {self._scheme.name}>"

    def __bytes__(self) -> bytes:
        encoded = output(self._scheme.public_key_bytes)
        _check(lib.qpher_mldsa_encode(self._key, encoded, len(encoded)), "public key")
        return encoded

    def verify(self, message: Buffer, signature: Buffer, *, context: Buffer = b"") -> bool:
        """Whether ``signature`` is valid; one of any other length is not (algorithm 3)."""
        data = any_size(message, "message")
        sig = any_size(signature, "signature")
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        return _valid(_verify(self._key, sig, len(sig), data, len(data), ctx, len(ctx)))

    def verify_mu(self, mu: Buffer, signature: Buffer) -> bool:
        """Whether ``signature`` is valid for a message representative of 64 bytes."""
        data = sized(mu, "mu", MU_BYTES)
        sig = any_size(signature, "signature")
        return _valid(_verify_mu(self._key, sig, len(sig), data, MU_BYTES))

    def verify_prehash(
        self, digest: Buffer, name: str, signature: Buffer, *, context: Buffer = b""
    ) -> bool:
        """Whether ``signature`` is valid for a digest that ``name`` made (algorithm 5)."""
        number, data = _digest(digest, name)
        sig = any_size(signature, "signature")
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        return _valid(
            lib.qpher_mldsa_verify_prehash(
                self._key, sig, len(sig), number, data, len(data), ctx, len(ctx)
            )
        )

    def verify_many(
        self, pairs: Iterable[tuple[Buffer, Buffer]], *, context: Buffer = b"", threads: int = 1
    ) -> list[bool]:
        """``verify`` for each (message, signature), sharing SIMD lanes between them."""
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        size = self._signature_bytes
        never = bytes(size)  # in the place of a signature of another length: refused all the same
        checked = [
            (any_size(message, "message"), sig if len(sig) == size else never)
            for message, signature in pairs
            for sig in (any_size(signature, "signature"),)
        ]

        def work(part: Sequence[tuple[Bytes, Bytes]]) -> list[bool]:
            messages, lengths = _joined([message for message, _ in part])
            signatures, _ = _joined([signature for _, signature in part])
            results = output(max(2, len(part)))
            error = lib.qpher_mldsa_verify_many(
                self._key, len(part), results, signatures, len(signatures), messages,
                len(messages), lengths, ctx, len(ctx),
            )  # fmt: skip
            _check(error, "public key")
            return [result == 1 for result in results[: len(part)]]

        return split(work, checked, threads)

    def mu_hasher(self, context: Buffer = b"") -> MuHasher:
        """Return a hash object that turns a message that comes in parts into its mu."""
        state = _mu_pool.take()
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        _check(lib.qpher_mldsa_mu_start(state, self._key, ctx, len(ctx)), "public key")
        return MuHasher(state)


class MuHasher:
    """The message representative of a long message, in constant memory."""

    __slots__ = ("_state",)

    def __init__(self, state: CData) -> None:
        self._state = state

    def update(self, part: Buffer) -> None:
        """Add the next part of the message."""
        data = any_size(part, "part")
        _check(lib.qpher_mldsa_mu_update(self._state, data, len(data)), "hash")

    def digest(self) -> bytes:
        """Return mu of everything so far, 64 bytes; more parts may follow."""
        copy, mu = _mu_pool.take(), output(MU_BYTES)
        ffi.memmove(copy, self._state, lib.qpher_mldsa_mu_bytes())
        _check(lib.qpher_mldsa_mu_final(copy, mu, MU_BYTES), "hash")
        return mu


class SigningKey:
    """An opened signing key; a context manager. It cannot be pickled or copied.

    Signatures are hedged: fresh randomness goes into each. ``deterministic=True`` leaves it out
    (FIPS 204 section 3.4), and ``randomness`` of 32 bytes replaces it, for tests.
    """

    __slots__ = ("_key", "_public_key", "_scheme", "_signature_bytes")

    def __init__(self, scheme: MLDSA, key: CData) -> None:
        self._scheme = scheme
        self._key = key
        self._signature_bytes = scheme.signature_bytes
        self._public_key: VerificationKey | None = None

    def __repr__(self) -> str:
        return f"<SigningKey {self._scheme.name}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the key, once no call in another thread uses it any more. Idempotent."""
        self._key = _NULL

    @property
    def public_key(self) -> VerificationKey:
        """The public key, an object of its own that outlives this one."""
        if self._public_key is None or not self._key:
            slot = self._scheme._pk_pool.take()  # noqa: SLF001 (same module)
            _check(lib.qpher_mldsa_public_key(slot, self._key), "signing key")
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
        rnd, rnd_size = _randomness(deterministic, randomness)
        size = self._signature_bytes
        sig = output(size)
        error = _sign(self._key, sig, size, data, len(data), ctx, len(ctx), rnd, rnd_size)
        if error:
            _check(error, "signing key")
        return sig

    def sign_mu(
        self, mu: Buffer, *, deterministic: bool = False, randomness: Buffer | None = None
    ) -> bytes:
        """Return a signature for a message representative of 64 bytes (algorithm 7)."""
        data = sized(mu, "mu", MU_BYTES)
        rnd, rnd_size = _randomness(deterministic, randomness)
        sig = output(self._signature_bytes)
        _check(_sign_mu(self._key, sig, len(sig), data, MU_BYTES, rnd, rnd_size), "signing key")
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
        number, data = _digest(digest, name)
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        rnd, rnd_size = _randomness(deterministic, randomness)
        sig = output(self._signature_bytes)
        error = lib.qpher_mldsa_sign_prehash(
            self._key, sig, len(sig), number, data, len(data), ctx, len(ctx), rnd, rnd_size
        )
        _check(error, "signing key")
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
            joined, lengths = _joined(part)
            rnds = bytes(RANDOMNESS_BYTES * len(part)) if deterministic else _NULL
            rnds_size = RANDOMNESS_BYTES * len(part) if deterministic else 0
            sigs = output(size * len(part))
            error = lib.qpher_mldsa_sign_many(
                self._key, len(part), sigs, len(sigs), joined, len(joined), lengths, ctx,
                len(ctx), rnds, rnds_size,
            )  # fmt: skip
            _check(error, "signing key")
            return [sigs[at : at + size] for at in range(0, len(sigs), size)]

        return split(work, checked, threads)

    def seed(self) -> bytes:
        """Return the 32-byte seed; ValueError for a key that came from its expanded form."""
        seed = output(SEED_BYTES)
        error = lib.qpher_mldsa_seed(self._key, seed, SEED_BYTES)
        if error == lib.QPHER_ERR_KEY:
            raise ValueError("a key from its expanded form has no seed")
        _check(error, "signing key")
        return seed

    def expanded(self) -> bytes:
        """Return the expanded key of FIPS 204 (algorithm 24)."""
        data = output(self._scheme.expanded_key_bytes)
        _check(lib.qpher_mldsa_expanded(self._key, data, len(data)), "signing key")
        return data


def _check(error: int, what: str) -> None:
    """Turn an error code of the C core into an exception."""
    if error == lib.QPHER_OK:
        return
    if error == lib.QPHER_ERR_CLOSED:
        raise ValueError(f"the {what} is closed")
    if error == lib.QPHER_ERR_KEY:
        raise ValueError(f"the {what} is not consistent: s1, s2, t0 and tr do not belong together")
    if error == lib.QPHER_ERR_RANDOM:
        raise OSError("the operating system gave no randomness")
    raise ValueError(f"the {what} cannot do this (error {error})")


def _valid(error: int) -> bool:
    if error == _INVALID:
        return False
    if error:
        _check(error, "public key")
    return True


def _randomness(deterministic: bool, randomness: Buffer | None) -> tuple[Bytes, int]:
    if randomness is not None:
        if deterministic:
            raise ValueError("randomness must be None for a deterministic signature")
        return sized(randomness, "randomness", RANDOMNESS_BYTES), RANDOMNESS_BYTES
    return (_ZEROS, RANDOMNESS_BYTES) if deterministic else (_NULL, 0)


def _digest(digest: Buffer, name: str) -> tuple[int, Bytes]:
    if name not in PREHASHES:
        raise ValueError(f"name must be one of {', '.join(PREHASHES)}, not {name!r}")
    number, size = PREHASHES[name]
    return number, sized(digest, "digest", size)


def _joined(parts: Sequence[Bytes]) -> tuple[bytes, CData]:
    """All the parts one after the other, and their lengths, as the batch functions take them."""
    whole = b"".join(part if isinstance(part, bytes) else ffi.buffer(part) for part in parts)
    return whole, ffi.new("size_t[]", [len(part) for part in parts])
