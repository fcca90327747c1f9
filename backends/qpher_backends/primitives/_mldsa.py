# SPDX-License-Identifier: Apache-2.0
"""The message representative mu of ML-DSA, for providers that sign only that (FIPS 204)."""

import hashlib
from typing import Final

from qpher_core.errors import ValidationError

#: DER encodings of the pre-hash OIDs (FIPS 204 section 5.4.1) and digest lengths in bytes.
_PREHASHES: Final = {
    "SHA-256": (bytes.fromhex("0609608648016503040201"), 32),
    "SHA-384": (bytes.fromhex("0609608648016503040202"), 48),
    "SHA-512": (bytes.fromhex("0609608648016503040203"), 64),
}


def prehash_mu(public_key: bytes, digest: bytes, hash_name: str, context: bytes) -> bytes:
    """Return mu of HashML-DSA: Algorithm 4 lines 10 to 23, then Algorithm 7 line 6."""
    if hash_name not in _PREHASHES:
        raise ValidationError(
            f"hash_name must be one of: {', '.join(_PREHASHES)}", parameter="hash_name"
        )
    oid, size = _PREHASHES[hash_name]
    if len(digest) != size or len(context) > 255:
        raise ValueError(f"digest must have {size} bytes and context at most 255")
    message = bytes([1, len(context)]) + context + oid + digest
    tr = hashlib.shake_256(public_key).digest(64)
    return hashlib.shake_256(tr + message).digest(64)
