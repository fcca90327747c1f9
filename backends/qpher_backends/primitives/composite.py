# SPDX-License-Identifier: Apache-2.0
"""Composite ML-DSA with ECDSA over any ML-DSA (draft-ietf-lamps-pq-composite-sigs-19).

M' = prefix ‖ label ‖ len(ctx) ‖ ctx ‖ SHA-512(M)
public key = ML-DSA's ‖ uncompressed point
signature = ML-DSA.Sign(M', context = label) ‖ DER ECDSA signature of M'
seed = ML-DSA's (32) ‖ DER ECPrivateKey (RFC 5915) with its curve and without public key
"""

import hashlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qpher_backends.primitives._one_by_one import Signing, Verifying
from qpher_core.protocols import SignatureScheme, SigningKey, VerificationKey

__all__ = ["COMPOSITES", "Composite", "CompositeScheme"]

_PREFIX: Final = b"CompositeAlgorithmSignatures2025"
_MLDSA_SEED: Final = 32
_SHA512_BYTES: Final = 64
_LONGEST_CONTEXT: Final = 255


@frozen
class Composite:
    """One combination.

    Attributes:
        mldsa: canonical name of its ML-DSA.
        label: domain separation, and the context of the ML-DSA part.
        curve, hash: of the ECDSA part.
        scalar_bytes: length of an ECDSA private key.
        der_head, der_tail: what stands around the scalar in its DER ECPrivateKey.
        mldsa_public, mldsa_signature: lengths of the ML-DSA parts in bytes.
    """

    mldsa: str
    label: bytes
    curve: ec.EllipticCurve
    hash: HashAlgorithm
    scalar_bytes: int
    der_head: bytes
    der_tail: bytes
    mldsa_public: int
    mldsa_signature: int

    @property
    def seed_bytes(self) -> int:
        """Length of a seed."""
        return _MLDSA_SEED + len(self.der_head) + self.scalar_bytes + len(self.der_tail)


#: SEQUENCE { INTEGER 1, OCTET STRING scalar, [0] { OID curve } }
COMPOSITES: Final[Mapping[str, Composite]] = MappingProxyType(
    {
        "MLDSA65-ECDSA-P256": Composite(
            "ML-DSA-65",
            b"COMPSIG-MLDSA65-ECDSA-P256-SHA512",
            ec.SECP256R1(),
            SHA256(),
            32,
            bytes.fromhex("30310201010420"),
            bytes.fromhex("a00a06082a8648ce3d030107"),
            1952,
            3309,
        ),
        "MLDSA87-ECDSA-P384": Composite(
            "ML-DSA-87",
            b"COMPSIG-MLDSA87-ECDSA-P384-SHA512",
            ec.SECP384R1(),
            SHA384(),
            48,
            bytes.fromhex("303e0201010430"),
            bytes.fromhex("a00706052b81040022"),
            2592,
            4627,
        ),
    }
)


def _representative(composite: Composite, digest: bytes, context: bytes) -> bytes:
    """Return M' for SHA-512(M)."""
    if len(context) > _LONGEST_CONTEXT:
        raise ValueError(f"context must have at most {_LONGEST_CONTEXT} bytes")
    return _PREFIX + composite.label + bytes([len(context)]) + context + digest


def _check_prehash(digest: bytes, hash_name: str) -> None:
    if hash_name != "SHA-512" or len(digest) != _SHA512_BYTES:
        raise ValueError("a composite's pre-hash is SHA-512, 64 bytes")


class CompositeVerificationKey(Verifying):
    """An opened composite public key."""

    __slots__ = ("_composite", "_ecdsa", "_mldsa")

    def __init__(
        self, composite: Composite, mldsa: VerificationKey, ecdsa: ec.EllipticCurvePublicKey
    ) -> None:
        self._composite = composite
        self._mldsa = mldsa
        self._ecdsa = ecdsa

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        """Return whether both parts are valid."""
        digest = hashlib.sha512(message).digest()
        return self.verify_prehash(digest, "SHA-512", signature, context=context)

    def verify_prehash(
        self, digest: bytes, hash_name: str, signature: bytes, *, context: bytes = b""
    ) -> bool:
        """As :meth:`verify`, over SHA-512 of the message."""
        _check_prehash(digest, hash_name)
        composite = self._composite
        representative = _representative(composite, digest, context)
        first = signature[: composite.mldsa_signature]
        second = signature[composite.mldsa_signature :]
        valid = self._mldsa.verify(representative, first, context=composite.label)
        try:
            self._ecdsa.verify(second, representative, ec.ECDSA(composite.hash))
        except InvalidSignature:
            return False
        return valid


class CompositeSigningKey(Signing):
    """An opened composite private key."""

    __slots__ = ("_composite", "_ecdsa", "_mldsa", "public_key")

    def __init__(
        self, composite: Composite, mldsa: SigningKey, ecdsa: ec.EllipticCurvePrivateKey
    ) -> None:
        self._composite = composite
        self._mldsa = mldsa
        self._ecdsa: ec.EllipticCurvePrivateKey | None = ecdsa
        point = ecdsa.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = mldsa.public_key + point

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        """Sign with both parts; ``deterministic`` concerns the ML-DSA part."""
        digest = hashlib.sha512(message).digest()
        return self._sign(digest, context, deterministic=deterministic)

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        """Sign SHA-512 of a message; the signature is one over the message."""
        _check_prehash(digest, hash_name)
        return self._sign(digest, context, deterministic=False)

    def close(self) -> None:
        """Wipe it."""
        self._mldsa.close()
        self._ecdsa = None

    def _sign(self, digest: bytes, context: bytes, *, deterministic: bool) -> bytes:
        if self._ecdsa is None:
            raise ValueError("the key is closed")
        composite = self._composite
        representative = _representative(composite, digest, context)
        first = self._mldsa.sign(
            representative, context=composite.label, deterministic=deterministic
        )
        return first + self._ecdsa.sign(representative, ec.ECDSA(composite.hash))


class CompositeScheme:
    """A composite over a provider's ML-DSA."""

    def __init__(self, composite: Composite, mldsa: SignatureScheme) -> None:
        self._composite = composite
        self._mldsa = mldsa

    def generate_seed(self) -> bytes:
        """Return 32 random bytes ‖ DER of a fresh ECDSA key."""
        composite = self._composite
        secret = ec.generate_private_key(composite.curve).private_numbers().private_value
        scalar = secret.to_bytes(composite.scalar_bytes)
        return os.urandom(_MLDSA_SEED) + composite.der_head + scalar + composite.der_tail

    def open_seed(self, seed: bytes) -> CompositeSigningKey:
        """Expand a seed."""
        composite = self._composite
        head, tail = _MLDSA_SEED + len(composite.der_head), len(composite.der_tail)
        if (
            len(seed) != composite.seed_bytes
            or seed[_MLDSA_SEED:head] != composite.der_head
            or seed[-tail:] != composite.der_tail
        ):
            raise ValueError("seed must be 32 bytes and a DER ECPrivateKey with its curve")
        ecdsa = ec.derive_private_key(int.from_bytes(seed[head:-tail]), composite.curve)
        return CompositeSigningKey(composite, self._mldsa.open_seed(seed[:_MLDSA_SEED]), ecdsa)

    def open_public_key(self, data: bytes) -> CompositeVerificationKey:
        """Open a public key; the point must be uncompressed and on the curve."""
        composite = self._composite
        point = data[composite.mldsa_public :]
        if len(point) != 1 + 2 * composite.scalar_bytes or point[0] != 4:
            raise ValueError("public key must end with an uncompressed point")
        mldsa = self._mldsa.open_public_key(data[: composite.mldsa_public])
        ecdsa = ec.EllipticCurvePublicKey.from_encoded_point(composite.curve, point)
        return CompositeVerificationKey(composite, mldsa, ecdsa)
