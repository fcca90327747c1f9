# SPDX-License-Identifier: Apache-2.0
"""The form of API keys.

    qph_<id, 12 characters>_<secret, 43 characters><checksum, 6 characters>

Characters are digits and letters (base 62). The secret is 256 random bits; the store has its
SHA-256 under the id, which is indexed and no secret. The checksum, CRC-32 of all that precedes
it, lets scanners and people tell a key from a random string; it protects nothing.
"""

import hashlib
import re
import secrets
import zlib
from typing import Final

from attrs import field, frozen

__all__ = ["ParsedKey", "make_secret", "parse_secret"]

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARACTERS: Final = 12
_SECRET_CHARACTERS: Final = 43  # 62^43 > 2^256
_CHECK_CHARACTERS: Final = 6
_FORM: Final = re.compile(r"qph_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


@frozen
class ParsedKey:
    """What the store knows an API key by."""

    id: str
    secret_hash: bytes = field(repr=False)


def make_secret() -> tuple[str, str]:
    """Return (id, API key) of a new API key."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARACTERS))
    body = f"qph_{key_id}_{_base62(secrets.randbits(256), _SECRET_CHARACTERS)}"
    return key_id, body + _checksum(body)


def parse_secret(text: str) -> ParsedKey | None:
    """Return id and secret hash of an API key, or None if it does not have the form of one."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[:-_CHECK_CHARACTERS]) != found[3]:
        return None
    return ParsedKey(found[1], hashlib.sha256(found[2].encode()).digest())


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_CHARACTERS)
