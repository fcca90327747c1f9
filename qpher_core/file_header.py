# SPDX-License-Identifier: Apache-2.0
"""Headers of encrypted files: who can open them, and changing that in place (docs/formats.md).

    format 2: "QPHF" ‖ 0x02 ‖ state (1) ‖ room (4) ‖ recipients ‖ the same again
    recipients = number (1) ‖ recipient … ‖ zeros ‖ SHA-256 of what is before (32): ``room`` bytes
    recipient = length (2) ‖ the file key as a message of kind FILE_KEY or PUBLIC_FILE_KEY

The body does not depend on the header. There are two copies so that a file can change its
recipients in place: one of them is whole at any moment. The state says whether a change is under
way; if not, both must be the same. Format 1 has neither state, room nor second copy.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from attrs import evolve, field, frozen

from qpher_core.file_io import read_up_to, rewrite, write_all

__all__ = ["MAGIC", "FileHeader", "read_header", "replace_header", "unchanging"]

#: What every encrypted file begins with.
MAGIC: Final = b"QPHF"

_LEGACY: Final = 1
_FORMAT: Final = 2
_LENGTH_BYTES: Final = 2
_CHECK_BYTES: Final = 32
_START_BYTES: Final = len(MAGIC) + 1
_STATE_AT: Final = _START_BYTES
_ROOM_BYTES: Final = 4
_COPY_AT: Final = _STATE_AT + 1 + _ROOM_BYTES
_MOST_ROOM: Final = 1 << 20
_UNIT: Final = 4096
_COPIED_AT_ONCE: Final = 1 << 20
#: Room for a recipient of any algorithm, so that each can move to any other.
_LARGEST_RECIPIENT: Final = 1640

# One flipped bit turns neither state into the other.
_WHOLE: Final = b"\x00"
_CHANGING: Final = b"\xff"


@frozen
class FileHeader:
    """What a header says.

    Attributes:
        recipients: the file key, encrypted to each recipient; none of a malformed header, so that
            the pipeline refuses and records it like any other.
        room: bytes of each copy in format 2; 0 in format 1.
    """

    recipients: tuple[bytes, ...] = field(repr=lambda r: f"<{len(r)} recipients>")
    room: int

    @classmethod
    def new(cls, recipients: Sequence[bytes], room: int = 0) -> "FileHeader":
        """Return a header for recipients, at most 255, with room for others in their place."""
        wanted = 1 + len(recipients) * (_LENGTH_BYTES + _LARGEST_RECIPIENT) + _CHECK_BYTES
        least = -(-wanted // _UNIT) * _UNIT
        return cls(tuple(recipients), room if _fits(recipients, room) else least)

    @classmethod
    def read(cls, source: BinaryIO) -> "FileHeader":
        """Read a header to its end, not while another process changes it."""
        with unchanging(source):
            return cls._read(source)

    @classmethod
    def _read(cls, source: BinaryIO) -> "FileHeader":
        start = read_up_to(source, _START_BYTES)
        if start == MAGIC + bytes([_LEGACY]):
            return cls(_read_legacy(source), 0)
        if start != MAGIC + bytes([_FORMAT]):
            return _MALFORMED
        state = read_up_to(source, 1)
        room = int.from_bytes(read_up_to(source, _ROOM_BYTES))
        if room > _MOST_ROOM:
            return _MALFORMED
        copies = read_up_to(source, room), read_up_to(source, room)
        if state == _WHOLE and copies[0] == copies[1]:
            return cls(_unpack(copies[0]), room)
        if state == _CHANGING:
            return cls(_unpack(copies[0]) or _unpack(copies[1]), room)
        return _MALFORMED

    @property
    def is_legacy(self) -> bool:
        """Whether it is of format 1."""
        return self.room == 0

    def with_recipients(self, recipients: Sequence[bytes]) -> "FileHeader":
        """Return it for other recipients; as long as before, if they fit."""
        if self.is_legacy:
            return evolve(self, recipients=tuple(recipients))
        return self.new(recipients, self.room)

    def encode(self) -> bytes:
        """Return its bytes."""
        if self.is_legacy:
            return MAGIC + bytes([_LEGACY]) + _pack(self.recipients)
        room = self.room.to_bytes(_ROOM_BYTES)
        return MAGIC + bytes([_FORMAT]) + _WHOLE + room + self.copy * 2

    @property
    def copy(self) -> bytes:
        """One of the two copies."""
        packed = _pack(self.recipients)
        padded = packed + bytes(self.room - _CHECK_BYTES - len(packed))
        return padded + hashlib.sha256(padded).digest()


_MALFORMED: Final = FileHeader((), 0)


@contextlib.contextmanager
def unchanging(source: BinaryIO) -> Iterator[None]:
    """Keep other processes from changing the header of a file, as far as it can be locked."""
    if not isinstance(source, io.FileIO | io.BufferedReader):
        yield
        return
    locked = False
    # Pipes, and file systems without locks: there is the state to go by.
    with contextlib.suppress(OSError):
        fcntl.flock(source.fileno(), fcntl.LOCK_SH)
        locked = True
    try:
        yield
    finally:
        if locked:
            fcntl.flock(source.fileno(), fcntl.LOCK_UN)


def read_header(data: bytes) -> FileHeader:
    """Return a header that is in memory."""
    return FileHeader.read(io.BytesIO(data))


def _fits(recipients: Sequence[bytes], room: int) -> bool:
    return len(_pack(recipients)) + _CHECK_BYTES <= room


def _pack(recipients: Sequence[bytes]) -> bytes:
    packed = (len(wrapped).to_bytes(_LENGTH_BYTES) + wrapped for wrapped in recipients)
    return bytes([len(recipients)]) + b"".join(packed)


def _unpack(copy: bytes) -> tuple[bytes, ...]:
    """Return the recipients of a copy; none unless each byte of it is as it must be."""
    recipients = _read_legacy(io.BytesIO(copy))
    if not recipients or not _fits(recipients, len(copy)):
        return ()
    return recipients if FileHeader(recipients, len(copy)).copy == copy else ()


def _read_legacy(source: BinaryIO) -> tuple[bytes, ...]:
    number = read_up_to(source, 1)
    recipients = []
    for _ in range(number[0] if number else 0):
        length = read_up_to(source, _LENGTH_BYTES)
        wrapped = read_up_to(source, int.from_bytes(length))
        if len(length) != _LENGTH_BYTES or len(wrapped) != int.from_bytes(length):
            return ()
        recipients.append(wrapped)
    return tuple(recipients)


def replace_header(path: Path, old: FileHeader, new: FileHeader) -> bool | None:
    """Give a file another header, durably; at any moment it has the old one or the new one.

    Returns:
        Whether that was done in place; where the new one is longer or shorter, the file is
        copied. None if the file does not have the old header any more, or is gone.
    """
    in_place = not old.is_legacy and old.room == new.room and os.access(path, os.W_OK)
    try:
        done = _change(path, old, new) if in_place else _copy(path, old, new)
    except FileNotFoundError:
        return None
    return in_place if done else None


def _change(path: Path, old: FileHeader, new: FileHeader) -> bool:
    with path.open("r+b", buffering=0) as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        if FileHeader._read(file) != old:  # noqa: SLF001 - the lock is held already
            return False
        file.seek(_STATE_AT)
        for data, place in _steps(old, new, file.read(1)):
            file.seek(place)
            write_all(file, data)
            os.fdatasync(file.fileno())
    return True


def _copy(path: Path, old: FileHeader, new: FileHeader) -> bool:
    def change(reading: BinaryIO, writing: BinaryIO) -> bool:
        if FileHeader.read(reading) != old:
            return False
        writing.write(new.encode())
        shutil.copyfileobj(reading, writing, _COPIED_AT_ONCE)
        return True

    return rewrite(path, change)


def _steps(old: FileHeader, new: FileHeader, state: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield what to write where, each durable before the next.

    Whatever a crash left of a step, :meth:`FileHeader.read` finds the old or the new header.
    """
    second = _COPY_AT + old.room
    if state == _CHANGING:  # a crash in an earlier change may have torn the second copy
        yield old.copy, second
    else:
        yield _CHANGING, _STATE_AT
    yield new.copy, _COPY_AT
    yield new.copy, second
    yield _WHOLE, _STATE_AT
