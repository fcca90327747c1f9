# SPDX-License-Identifier: Apache-2.0
"""Encrypted files: a header that carries the file key, then the stream (docs/formats.md, File).

    "QPHF" ‖ format 0x01 ‖ number of recipients (1) ‖ recipients ‖ chunked encryption
    recipient = length (2) ‖ the file key as a message of kind FILE_KEY

The stream does not depend on the header, so that a file can move to other recipients by
rewriting its header alone.
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from qpher_core import chunked
from qpher_core.errors import ValidationError

__all__ = [
    "STREAM_CONTEXT",
    "FileSource",
    "header_bytes",
    "new_file_key",
    "open_source",
    "open_target",
    "pack_header",
    "pack_recipients",
    "read_header",
    "read_recipients",
]

FileSource = str | os.PathLike[str] | BinaryIO

_MAGIC: Final = b"QPHF\x01"
_LENGTH_BYTES: Final = 2

#: Context of the chunked encryption.
STREAM_CONTEXT: Final = b"qpher-file/1"


def new_file_key() -> bytes:
    """Return a fresh 32-byte file key."""
    return secrets.token_bytes(chunked.KEY_BYTES)


def pack_header(wrapped_key: bytes) -> bytes:
    """Return the header of a file for one recipient."""
    return pack_recipients([wrapped_key])


def pack_recipients(recipients: Sequence[bytes]) -> bytes:
    """Return the header of a file for several recipients, at most 255."""
    packed = (len(wrapped).to_bytes(_LENGTH_BYTES) + wrapped for wrapped in recipients)
    return _MAGIC + bytes([len(recipients)]) + b"".join(packed)


def read_recipients(source: BinaryIO) -> list[bytes]:
    """Read the header and return the wrapped file keys, one for each recipient.

    A malformed header has none, so that the pipeline refuses and records it like any other.
    """
    start = chunked.read_up_to(source, len(_MAGIC) + 1)
    if start[:-1] != _MAGIC:
        return []
    recipients = []
    for _ in range(start[-1]):
        length = chunked.read_up_to(source, _LENGTH_BYTES)
        wrapped = chunked.read_up_to(source, int.from_bytes(length))
        if len(length) != _LENGTH_BYTES or len(wrapped) != int.from_bytes(length):
            return []
        recipients.append(wrapped)
    return recipients


def read_header(source: BinaryIO) -> bytes:
    """Read the header and return its bytes; of a malformed one, the beginning of it."""
    recipients = read_recipients(source)
    return pack_recipients(recipients) if recipients else _MAGIC


def header_bytes(recipients: list[bytes]) -> int:
    """Return the length of the header with these recipients."""
    return len(_MAGIC) + 1 + sum(_LENGTH_BYTES + len(wrapped) for wrapped in recipients)


@contextlib.contextmanager
def open_source(source: FileSource) -> Iterator[BinaryIO]:
    """Open a path for reading, or use a binary file as it is."""
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield file
    elif hasattr(source, "read"):
        yield source
    else:
        raise ValidationError("source must be a path or a binary file", parameter="source")


@contextlib.contextmanager
def open_target(target: FileSource) -> Iterator[BinaryIO]:
    """Write a path so that it appears complete and durable or not at all.

    A file object is written as it is; whether it is complete is then the caller's to know.
    """
    if not isinstance(target, str | os.PathLike):
        if not hasattr(target, "write"):
            raise ValidationError("target must be a path or a binary file", parameter="target")
        yield target
        return
    path = Path(target)
    # The name begins with the final one, so that a leftover after a crash explains itself.
    handle, partial = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
