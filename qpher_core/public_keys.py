# SPDX-License-Identifier: Apache-2.0
"""Public keys as others read them: SubjectPublicKeyInfo in PEM, and JWK."""

import base64
import hashlib
import textwrap
from typing import Final

from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import ValidationError
from qpher_core.models import canonical_json

__all__ = ["to_jwk", "to_pem", "to_spki"]

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_BIT_STRING: Final = 0x03


def to_spki(algorithm: str, public_key: bytes) -> bytes:
    """Return the DER SubjectPublicKeyInfo: the algorithm's identifier without parameters.

    So RFC 9881 writes ML-DSA, RFC 9935 ML-KEM, RFC 9909 SLH-DSA and the drafts X-Wing and the
    composites.

    Raises:
        ValidationError: the algorithm has no object identifier.
    """
    oid = ALGORITHMS[algorithm].oid
    if oid is None:
        raise ValidationError(f"{algorithm} has no object identifier", parameter="algorithm")
    identifier = _der(_SEQUENCE, _der(_OBJECT_IDENTIFIER, _encode_oid(oid)))
    return _der(_SEQUENCE, identifier + _der(_BIT_STRING, b"\x00" + public_key))


def to_pem(algorithm: str, public_key: bytes) -> str:
    """Return the SubjectPublicKeyInfo in PEM (RFC 7468)."""
    text = base64.b64encode(to_spki(algorithm, public_key)).decode()
    lines = "\n".join(textwrap.wrap(text, 64))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def to_jwk(algorithm: str, public_key: bytes) -> dict[str, str]:
    """Return the key as a JWK of type AKP; ``kid`` is its thumbprint (RFC 7638)."""
    pub = base64.urlsafe_b64encode(public_key).rstrip(b"=").decode()
    required = {"alg": algorithm, "kty": "AKP", "pub": pub}
    digest = hashlib.sha256(canonical_json(required)).digest()
    return {**required, "kid": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _encode_oid(oid: str) -> bytes:
    first, second, *rest = map(int, oid.split("."))
    return b"".join(_base128(arc) for arc in (40 * first + second, *rest))


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))
