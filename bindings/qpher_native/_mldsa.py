# SPDX-License-Identifier: Apache-2.0
"""What the keys of ML-DSA share: sizes, memory, checks, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._buffers import sized
from ._memory import Pool
from ._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._buffers import Buffer
    from ._native import Bytes, CData

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

_ZEROS: Final = bytes(RANDOMNESS_BYTES)

# A signing key ends with its public key, which need not be wiped.
sk_pools: Final = {
    number: Pool(
        "qpher_mldsa_sk *",
        lib.qpher_mldsa_sk_bytes(number),
        wiped=lib.qpher_mldsa_sk_bytes(number) - lib.qpher_mldsa_pk_bytes(number),
    )
    for number in SETS.values()
}
pk_pools: Final = {
    number: Pool("qpher_mldsa_pk *", lib.qpher_mldsa_pk_bytes(number), secret=False, wiped=0)
    for number in SETS.values()
}
mu_pool: Final = Pool("qpher_mldsa_mu *", lib.qpher_mldsa_mu_bytes())


def check(error: int, what: str) -> None:
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


def chosen_randomness(deterministic: bool, randomness: Buffer | None) -> tuple[Bytes, int]:
    """What C takes as rnd and its length: null for fresh randomness."""
    if randomness is not None:
        if deterministic:
            raise ValueError("randomness must be None for a deterministic signature")
        return sized(randomness, "randomness", RANDOMNESS_BYTES), RANDOMNESS_BYTES
    return (_ZEROS, RANDOMNESS_BYTES) if deterministic else (ffi.NULL, 0)


def checked_digest(digest: Buffer, name: str) -> tuple[int, Bytes]:
    """The number of the hash function in C, and the digest if it has the right length."""
    if name not in PREHASHES:
        raise ValueError(f"name must be one of {', '.join(PREHASHES)}, not {name!r}")
    number, size = PREHASHES[name]
    return number, sized(digest, "digest", size)


def joined(parts: Sequence[Bytes]) -> tuple[bytes, CData]:
    """All the parts one after the other, and their lengths, as the batch functions take them."""
    whole = b"".join(part if isinstance(part, bytes) else ffi.buffer(part) for part in parts)
    return whole, ffi.new("size_t[]", [len(part) for part in parts])
