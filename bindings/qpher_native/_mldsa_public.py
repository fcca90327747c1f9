# SPDX-License-Identifier: Apache-2.0
"""Opened public keys of ML-DSA, and messages that come in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._buffers import any_size, at_most, output, sized
from ._mldsa import MAX_CONTEXT_BYTES, MU_BYTES, check, checked_digest, joined, mu_pool
from ._native import ffi, lib
from ._threads import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._buffers import Buffer
    from ._native import Bytes, CData
    from .mldsa import MLDSA

_INVALID: Final = lib.QPHER_ERR_SIGNATURE
_verify: Final = lib.qpher_mldsa_verify
_verify_mu: Final = lib.qpher_mldsa_verify_mu


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
        check(lib.qpher_mldsa_encode(self._key, encoded, len(encoded)), "public key")
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
        number, data = checked_digest(digest, name)
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
            messages, lengths = joined([message for message, _ in part])
            signatures, _ = joined([signature for _, signature in part])
            results = output(max(2, len(part)))
            error = lib.qpher_mldsa_verify_many(
                self._key, len(part), results, signatures, len(signatures), messages,
                len(messages), lengths, ctx, len(ctx),
            )  # fmt: skip
            check(error, "public key")
            return [result == 1 for result in results[: len(part)]]

        return split(work, checked, threads)

    def mu_hasher(self, context: Buffer = b"") -> MuHasher:
        """Return a hash object that turns a message that comes in parts into its mu."""
        state = mu_pool.take()
        ctx = at_most(context, "context", MAX_CONTEXT_BYTES)
        check(lib.qpher_mldsa_mu_start(state, self._key, ctx, len(ctx)), "public key")
        return MuHasher(state)


class MuHasher:
    """The message representative of a long message, in constant memory."""

    __slots__ = ("_state",)

    def __init__(self, state: CData) -> None:
        self._state = state

    def update(self, part: Buffer) -> None:
        """Add the next part of the message."""
        data = any_size(part, "part")
        check(lib.qpher_mldsa_mu_update(self._state, data, len(data)), "hash")

    def digest(self) -> bytes:
        """Return mu of everything so far, 64 bytes; more parts may follow."""
        copy, mu = mu_pool.take(), output(MU_BYTES)
        ffi.memmove(copy, self._state, lib.qpher_mldsa_mu_bytes())
        check(lib.qpher_mldsa_mu_final(copy, mu, MU_BYTES), "hash")
        return mu


def _valid(error: int) -> bool:
    if error == _INVALID:
        return False
    if error:
        check(error, "public key")
    return True
