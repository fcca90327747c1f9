# SPDX-License-Identifier: Apache-2.0
"""Detached signatures of files (docs/formats.md, File signature).

A file is signed over its SHA-512, so that it may be of any size. The signature is one line of
text that says which key made it; who has the public key verifies it anywhere.
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from attrs import field, frozen

from qpher_core.algorithms import Kind, find
from qpher_core.chunked import Progress
from qpher_core.context_string import Context, context_string
from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable, ValidationError
from qpher_core.file_io import FileSource, open_source, ready
from qpher_core.models import KeyVersion, Receipt, canonical_json
from qpher_core.validation import check_bytes

__all__ = ["FILE_HASH", "FileSignature", "file_digest", "fingerprint", "verify_file"]

#: What a file is hashed with: the one pre-hash that every algorithm here takes.
FILE_HASH: Final = "SHA-512"

_FORMAT: Final = "qpher-signature/1"
_PIECE_BYTES: Final = 1024 * 1024


@frozen
class FileSignature:
    """A signature of a file, and what is needed to find its key.

    What it says of its key is not signed itself: a wrong name or version leads to another key,
    under which the signature is not valid.

    Attributes:
        fingerprint: SHA-256 of the raw public key, 32 bytes.
        receipt: the entry of the audit log that tells of the signing.
    """

    algorithm: str
    key_name: str
    key_version: int
    fingerprint: bytes = field(repr=bytes.hex)
    receipt: Receipt
    signature: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    def to_text(self) -> str:
        """Return it as one line of canonical JSON (RFC 8785)."""
        document = {
            "format": _FORMAT,
            "algorithm": self.algorithm,
            "hash": FILE_HASH,
            "key_name": self.key_name,
            "key_version": self.key_version,
            "public_key_sha256": self.fingerprint.hex(),
            "receipt": {
                "hash": self.receipt.hash.hex(),
                "seq": self.receipt.seq,
                "tenant": str(self.receipt.tenant_id),
            },
            "signature": base64.b64encode(self.signature).decode(),
        }
        return canonical_json(document).decode() + "\n"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the signature of a text.

        Raises:
            ValidationError: it holds something else, or says it in another form.
        """
        try:
            parsed = cls._of(json.loads(text))
            same = parsed.to_text() == text
        except (ValueError, KeyError, TypeError, RecursionError):
            same = False
        if not same:
            raise ValidationError("text must be a signature of a file", parameter="signature")
        return parsed

    @classmethod
    def given(cls, value: object) -> Self:
        """Return what a caller gave: a signature, or its text.

        Raises:
            ValidationError: it is neither.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValidationError(
                "signature must be a FileSignature or its text", parameter="signature"
            )
        return cls.from_text(value)

    # Through text, which is refused with ValueError; a number can be infinite.
    @classmethod
    def _of(cls, document: Mapping[str, Any]) -> Self:
        receipt = document["receipt"]
        return cls(
            str(document["algorithm"]),
            str(document["key_name"]),
            int(str(document["key_version"])),
            bytes.fromhex(document["public_key_sha256"]),
            Receipt(
                uuid.UUID(str(receipt["tenant"])),
                int(str(receipt["seq"])),
                bytes.fromhex(receipt["hash"]),
            ),
            base64.b64decode(document["signature"], validate=True),
        )


def file_digest(source: FileSource, progress: Progress = lambda _: None) -> bytes:
    """Return the SHA-512 of a file, 64 bytes, in constant memory."""
    digest = hashlib.sha512()
    with open_source(source) as reading:
        while piece := ready(reading.read(_PIECE_BYTES)):
            digest.update(piece)
            progress(len(piece))
    return digest.digest()


def fingerprint(key: KeyVersion) -> bytes:
    """Return the SHA-256 of a raw public key, 32 bytes."""
    return hashlib.sha256(key.public_key).digest()


def verify_file(
    source: FileSource,
    signature: FileSignature | str,
    public_key: bytes,
    *,
    context: Context = None,
    progress: Callable[[int], None] = lambda _: None,
) -> bool:
    """Verify a file with the public key alone; nothing else is asked.

    Args:
        source: path or binary file.
        signature: what ``session.signatures.sign_file`` gave, or its text.
        public_key: the raw public key. Where it comes from decides what the answer is worth.
        context: the one that it was signed with.
        progress: called with the number of bytes of each piece.

    Returns:
        Whether this key signed this file.

    Raises:
        ValidationError: the signature is malformed.
        AlgorithmUnavailable: no installed provider has its algorithm.
    """
    given = FileSignature.given(signature)
    row = find(given.algorithm, kind=Kind.SIGNATURE)
    key = check_bytes(public_key, "public_key", sizes=(row.public_key_bytes,))
    scheme = open_primitives(None).signatures.get(row.name)
    if scheme is None:
        raise AlgorithmUnavailable(f"{row.name}: {row.how_to_get}")
    if hashlib.sha256(key).digest() != given.fingerprint:
        return False
    digest = file_digest(source, progress)
    return scheme.open_public_key(key).verify_prehash(
        digest, FILE_HASH, given.signature, context=context_string(context)
    )
