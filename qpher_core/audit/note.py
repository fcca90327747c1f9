# SPDX-License-Identifier: Apache-2.0
"""C2SP signed-note: text with signature lines (https://c2sp.org/signed-note)."""

import base64
import binascii
import hashlib
import re
from typing import Final, Self

from attrs import evolve, field, frozen

from qpher_core.audit.problems import AuditIntegrityError, Problem

__all__ = ["Note", "NoteSignature", "check_key_name", "decode_base64", "key_id"]

_KEY_ID_BYTES: Final = 4

_DASH: Final = "\u2014 "
_LONGEST: Final = 1 << 20  # characters of a whole note
_MOST_SIGNATURES: Final = 64
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")  # all but the newline


def key_id(name: str, identifier: bytes, public_key: bytes) -> bytes:
    """Return the 4-byte id of a key: begins SHA-256(name ‖ newline ‖ type ‖ public key)."""
    data = name.encode() + b"\n" + identifier + public_key
    return hashlib.sha256(data).digest()[:_KEY_ID_BYTES]


def check_key_name(name: str) -> str:
    """Return a key name: not empty, without spaces, plus signs and control characters.

    Raises:
        AuditIntegrityError: it is not one.
    """
    if not name or any(c.isspace() or c == "+" or c < " " for c in name):
        raise _malformed("a key name has no spaces and no plus sign")
    return name


def decode_base64(text: str) -> bytes:
    """Decode standard base64, in its one canonical form only.

    Raises:
        AuditIntegrityError: it is not canonical base64.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("a value is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise _malformed("a value is not in the canonical form of base64")
    return data


@frozen
class NoteSignature:
    """One signature line.

    Attributes:
        name: name of the key.
        key_id: 4 bytes that name key and algorithm.
        signature: what follows them; its form depends on the type of the key.
    """

    name: str
    key_id: bytes = field(repr=bytes.hex)
    signature: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    def __str__(self) -> str:
        encoded = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_DASH}{self.name} {encoded}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parse a line without its newline.

        Raises:
            AuditIntegrityError: it is not a signature line.
        """
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise _malformed("a signature line is malformed")
        data = decode_base64(encoded)
        if len(data) <= _KEY_ID_BYTES:
            raise _malformed("a signature is too short")
        return cls(check_key_name(name), data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


@frozen
class Note:
    """A text and its signatures. The text ends with a newline."""

    text: str
    signatures: tuple[NoteSignature, ...] = ()

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    def signed(self, *signatures: NoteSignature) -> Self:
        """Return the note with more signatures."""
        return evolve(self, signatures=self.signatures + signatures)

    @classmethod
    def parse(cls, data: str) -> Self:
        """Parse a signed note; no signature is checked.

        Raises:
            AuditIntegrityError: it is not one.
        """
        if len(data) > _LONGEST or _CONTROL.search(data):
            raise _malformed("a note is too long or has control characters")
        text, gap, lines = data.rpartition("\n\n")
        if not gap or not text or not lines.endswith("\n"):
            raise _malformed("a note is a text, an empty line and signature lines")
        parts = lines[:-1].split("\n")
        if len(parts) > _MOST_SIGNATURES:
            raise _malformed("a note has too many signatures")
        return cls(text + "\n", tuple(NoteSignature.parse(line) for line in parts))


def _malformed(message: str) -> AuditIntegrityError:
    return AuditIntegrityError(Problem.BAD_ANCHOR, message)
