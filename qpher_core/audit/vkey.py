# SPDX-License-Identifier: Apache-2.0
"""Keys of signed notes: their types, their text form (vkey), signing and verifying.

ML-DSA-65 and ML-DSA-87 have no assigned signature type, so theirs is 0xff and a longer
identifier, as signed-note prescribes. ML-DSA-44 cosignatures are type 0x06 of
https://c2sp.org/tlog-cosignature.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Self

from attrs import field, frozen

from qpher_core.algorithms import ALGORITHMS
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.note import (
    Note,
    NoteSignature,
    check_key_name,
    decode_base64,
    key_id,
)
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.discovery import open_primitives
from qpher_core.errors import ValidationError
from qpher_core.protocols import Primitives, SigningKey

__all__ = [
    "COSIGNATURE",
    "SIGNATURE_TYPES",
    "NoteSigner",
    "SignatureType",
    "VerifierKey",
    "as_keys",
    "cosigned_message",
    "parse_vkeys",
    "verify_note",
]

_TIMESTAMP_BYTES: Final = 8
_LABEL: Final = b"subtree/v1\n\x00"


@frozen
class SignatureType:
    """One way to sign a note.

    Attributes:
        identifier: what key ids and vkeys name it by.
        algorithm: canonical name of the algorithm.
        timestamped: a cosignature: 8 bytes of POSIX time precede the signature, and what is
            signed is :func:`cosigned_message` instead of the text.
    """

    identifier: bytes
    algorithm: str
    timestamped: bool = False


#: C2SP cosignatures.
COSIGNATURE: Final = SignatureType(b"\x06", "ML-DSA-44", timestamped=True)

_ROWS: Final = (
    COSIGNATURE,
    SignatureType(b"\xffqpher-core/ML-DSA-65/1\n", "ML-DSA-65"),
    SignatureType(b"\xffqpher-core/ML-DSA-87/1\n", "ML-DSA-87"),
)

#: Algorithm to signature type. No identifier is the beginning of another.
SIGNATURE_TYPES: Final[Mapping[str, SignatureType]] = MappingProxyType(
    {row.algorithm: row for row in _ROWS}
)


def cosigned_message(name: str, timestamp: int, checkpoint: Checkpoint) -> bytes:
    """Return the ``cosigned_message`` of tlog-cosignature for a whole tree."""
    return b"".join(
        (
            _LABEL,
            _short(name.encode()),
            timestamp.to_bytes(_TIMESTAMP_BYTES),
            _short(checkpoint.origin.encode()),
            bytes(8),  # start: the tree begins at its first leaf
            checkpoint.size.to_bytes(8),
            checkpoint.root,
        )
    )


def _short(data: bytes) -> bytes:
    if not 1 <= len(data) <= 255:
        raise ValidationError("names in a cosignature have 1 to 255 bytes", parameter="name")
    return bytes([len(data)]) + data


@frozen
class VerifierKey:
    """A public key that verifies notes, under a name.

    Attributes:
        name: name of the key, as in signature lines.
        type: how it signs.
        public_key: the encoded public key; 1312, 1952 or 2592 bytes.
    """

    name: str
    type: SignatureType
    public_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    @property
    def key_id(self) -> bytes:
        """The 4-byte key id."""
        return key_id(self.name, self.type.identifier, self.public_key)

    def __str__(self) -> str:
        """Return the vkey: ``name+key id in hexadecimal+base64(type ‖ public key)``."""
        encoded = base64.b64encode(self.type.identifier + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Parse a vkey.

        Raises:
            AuditIntegrityError: it is not one, or of a type that is not known.
        """
        name, _, rest = vkey.strip().partition("+")
        identifier, _, encoded = rest.partition("+")
        data = decode_base64(encoded)
        for row in _ROWS:
            public_key = data.removeprefix(row.identifier)
            if (
                len(public_key) + len(row.identifier) == len(data)
                and len(public_key) == ALGORITHMS[row.algorithm].public_key_bytes
            ):
                key = cls(check_key_name(name), row, public_key)
                if key.key_id.hex() == identifier:
                    return key
        raise AuditIntegrityError(Problem.UNKNOWN_KEY, "this is not a vkey of a known type")

    def made(self, line: NoteSignature) -> bool:
        """Return whether a signature line claims to be by this key."""
        return line.name == self.name and line.key_id == self.key_id

    def verify(self, text: str, line: NoteSignature, primitives: Primitives) -> bool:
        """Return whether a line of this key is a valid signature of a note's text."""
        signature, message = line.signature, text.encode()
        if self.type.timestamped:
            if len(signature) <= _TIMESTAMP_BYTES:
                return False
            timestamp = int.from_bytes(signature[:_TIMESTAMP_BYTES])
            signature = signature[_TIMESTAMP_BYTES:]
            message = cosigned_message(self.name, timestamp, Checkpoint.parse(text))
        opened = primitives.signatures[self.type.algorithm].open_public_key(self.public_key)
        return opened.verify(message, signature)


@frozen
class NoteSigner:
    """A private key that signs notes under a name."""

    key: VerifierKey
    opened: SigningKey = field(repr=False)
    clock: Callable[[], float] = field(repr=False)

    def sign(self, text: str) -> NoteSignature:
        """Return the signature line for a note's text.

        Raises:
            AuditIntegrityError: a cosigner was asked to sign what is no checkpoint.
        """
        if not self.key.type.timestamped:
            return NoteSignature(self.key.name, self.key.key_id, self.opened.sign(text.encode()))
        timestamp = int(self.clock())
        message = cosigned_message(self.key.name, timestamp, Checkpoint.parse(text))
        stamped = timestamp.to_bytes(_TIMESTAMP_BYTES) + self.opened.sign(message)
        return NoteSignature(self.key.name, self.key.key_id, stamped)


def parse_vkeys(text: str) -> list[VerifierKey]:
    """Parse a file of vkeys: one in a line; empty lines and lines that begin with # are none."""
    lines = (line.strip() for line in text.splitlines())
    return [VerifierKey.parse(line) for line in lines if line and not line.startswith("#")]


def as_keys(keys: Sequence[VerifierKey | str], parameter: str) -> list[VerifierKey]:
    """Return keys of which some are given as vkeys.

    Raises:
        ValidationError: they are no list of these, such as the text of one alone.
        AuditIntegrityError: a text is no vkey.
    """
    if isinstance(keys, str) or not all(isinstance(key, VerifierKey | str) for key in keys):
        raise ValidationError(f"{parameter} must be a list of vkeys", parameter=parameter)
    return [VerifierKey.parse(key) if isinstance(key, str) else key for key in keys]


def verify_note(
    note: Note, trusted: Sequence[VerifierKey], *, primitives: Primitives | None = None
) -> list[VerifierKey]:
    """Return the trusted keys that signed a note; at least one.

    Raises:
        AuditIntegrityError: ``unknown-key``, if none of them did; ``bad-signature``, if a line
            of one of them does not verify.
    """
    provider = primitives or open_primitives(None)
    signers = []
    for line in note.signatures:
        for key in trusted:
            if not key.made(line):
                continue
            if not key.verify(note.text, line, provider):
                raise AuditIntegrityError(
                    Problem.BAD_SIGNATURE, f"the signature of {key.name} does not verify"
                )
            signers.append(key)
    if not signers:
        names = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in note.signatures)
        raise AuditIntegrityError(
            Problem.UNKNOWN_KEY, f"signed by no trusted key, only by {names or 'nobody'}"
        )
    return signers
