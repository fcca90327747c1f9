# SPDX-License-Identifier: Apache-2.0
"""Public keys in the encodings of others: SubjectPublicKeyInfo, PEM and JWK.

SubjectPublicKeyInfo (RFC 5280 section 4.1): RFC 9881 for ML-DSA, RFC 9935 for ML-KEM, RFC 9909 for
SLH-DSA, the drafts of X-Wing and composite ML-DSA for theirs; all put the key into the bit string
as it is, with an algorithm identifier that has no parameters. JWK: RFC 9964, for ML-DSA alone.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from qpher_core.algorithms import ALGORITHMS, find
from qpher_core.errors import ValidationError

__all__ = ["has_jwk", "parse_jwk", "parse_pem", "parse_spki", "to_jwk", "to_pem", "to_spki"]

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_BIT_STRING: Final = 0x03
_BEGIN: Final = "-----BEGIN PUBLIC KEY-----"
_END: Final = "-----END PUBLIC KEY-----"
_LINE: Final = 64  # characters of base64 (RFC 7468 section 2)
_JWK_KTY: Final = "AKP"
_JWK_ALGORITHMS: Final = frozenset({"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"})


def to_spki(algorithm: str, public_key: bytes) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a raw public key.

    Raises:
        ValidationError: the algorithm is unknown, or the length is not its own.
    """
    row = find(algorithm)
    if row.oid is None:
        raise ValidationError(f"{row.name} has no object identifier", parameter="algorithm")
    _check_length(row.name, public_key)
    identifier = _tlv(_SEQUENCE, _tlv(_OBJECT_IDENTIFIER, _oid(row.oid)))
    return _tlv(_SEQUENCE, identifier + _tlv(_BIT_STRING, b"\x00" + public_key))


def to_pem(algorithm: str, public_key: bytes) -> str:
    """Return the PEM text (RFC 7468, ``PUBLIC KEY``) of a raw public key."""
    text = base64.b64encode(to_spki(algorithm, public_key)).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def to_jwk(algorithm: str, public_key: bytes) -> dict[str, str]:
    """Return the JSON Web Key of a raw ML-DSA public key (RFC 9964 section 3).

    ``kid`` is its thumbprint (RFC 7638).

    Raises:
        ValidationError: no JWK is defined for the algorithm.
    """
    name = _jwk_algorithm(find(algorithm).name)
    _check_length(name, public_key)
    pub = base64.urlsafe_b64encode(public_key).decode().rstrip("=")
    required = {"alg": name, "kty": _JWK_KTY, "pub": pub}
    return {**required, "kid": _thumbprint(required)}


def parse_spki(data: bytes) -> tuple[str, bytes]:
    """Return (algorithm, raw public key) of a DER SubjectPublicKeyInfo; it must be DER exactly."""
    for row in ALGORITHMS.values():
        key = data[-row.public_key_bytes :]
        if len(key) == row.public_key_bytes and row.oid and data == to_spki(row.name, key):
            return row.name, key
    raise ValidationError(
        "data must be the DER SubjectPublicKeyInfo of a known algorithm", parameter="data"
    )


def parse_pem(text: str) -> tuple[str, bytes]:
    """Return (algorithm, raw public key) of a PEM text that holds one public key."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValidationError("text must be one PEM block: PUBLIC KEY", parameter="text")
    try:
        data = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (ValueError, binascii.Error):
        raise ValidationError("text must hold base64", parameter="text") from None
    return parse_spki(data)


def parse_jwk(jwk: Mapping[str, object]) -> tuple[str, bytes]:
    """Return (algorithm, raw public key) of a JSON Web Key.

    Raises:
        ValidationError: it is none of ML-DSA's, or it holds a private key, which never belongs
            where a public one is expected.
    """
    if "priv" in jwk:
        raise ValidationError("jwk must not hold a private key", parameter="jwk")
    algorithm, pub = jwk.get("alg"), jwk.get("pub")
    if jwk.get("kty") != _JWK_KTY or not isinstance(algorithm, str) or not isinstance(pub, str):
        raise ValidationError("jwk must have kty 'AKP', alg and pub", parameter="jwk")
    name = _jwk_algorithm(algorithm)
    try:
        key = base64.b64decode(pub + "=" * (-len(pub) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise ValidationError("pub must be base64url", parameter="jwk") from None
    if to_jwk(name, key)["pub"] != pub:
        raise ValidationError("pub must be base64url without padding", parameter="jwk")
    return name, key


def _jwk_algorithm(name: str) -> str:
    if name not in _JWK_ALGORITHMS:
        choice = ", ".join(sorted(_JWK_ALGORITHMS))
        raise ValidationError(f"a JWK is defined for: {choice}", parameter="algorithm")
    return name


def has_jwk(algorithm: str) -> bool:
    """Return whether a JWK is defined for an algorithm."""
    return algorithm in _JWK_ALGORITHMS


def _thumbprint(required: Mapping[str, str]) -> str:
    text = json.dumps(required, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _check_length(algorithm: str, public_key: bytes) -> None:
    expected = ALGORITHMS[algorithm].public_key_bytes
    if len(public_key) != expected:
        raise ValidationError(
            f"public_key must have {expected} bytes for {algorithm}", parameter="public_key"
        )


def _tlv(tag: int, content: bytes) -> bytes:
    """Return one DER element (X.690 sections 8.1 and 10.1)."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size) + content


def _oid(dotted: str) -> bytes:
    """Return the content of an object identifier (X.690 section 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return b"".join(_base128(arc) for arc in (40 * first + second, *rest))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(0x80 | (arc & 0x7F))
    return bytes(reversed(digits))
