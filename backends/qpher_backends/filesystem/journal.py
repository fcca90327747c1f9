# SPDX-License-Identifier: Apache-2.0
"""The journal: what makes a change of several files one durable step.

A commit is one record at the journal's end, and counts from the moment that it is on disk. Only
then are its changes made in the files themselves, which are forced to disk later, all at once,
before the journal is emptied (a *checkpoint*). Whoever finds a journal that was not emptied makes
its changes again, which changes nothing that was made already.

    commit <bytes of the body> <SHA-256 of the body, hexadecimal>
    put <bytes> <path>              the file's whole content follows, and a newline
    add <bytes> <offset> <path>     what stands at this offset follows, and a newline
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import field, frozen

from qpher_backends.filesystem.files import replace_file, write_all, write_at
from qpher_core.errors import IntegrityError

__all__ = ["Add", "Change", "Journal", "Put", "apply"]

_COMMIT: Final = b"commit "


@frozen
class Put:
    """A file's whole new content."""

    path: str
    data: bytes = field(repr=False)

    def encoded(self) -> bytes:
        """Return the change as it stands in a record."""
        return b"put %d %s\n%s\n" % (len(self.data), self.path.encode(), self.data)


@frozen
class Add:
    """What stands at an offset of a file that only grows, or of a line that never moves."""

    path: str
    offset: int
    data: bytes = field(repr=False)

    def encoded(self) -> bytes:
        """Return the change as it stands in a record."""
        return b"add %d %d %s\n%s\n" % (
            len(self.data),
            self.offset,
            self.path.encode(),
            self.data,
        )


Change = Put | Add


def apply(root: str, changes: Sequence[Change]) -> None:
    """Make changes in the files below ``root``."""
    for change in changes:
        path = f"{root}/{change.path}"
        if isinstance(change, Put):
            replace_file(path, change.data)
        else:
            write_at(path, change.offset, change.data)


class Journal:
    """The journal file, for whoever holds the lock of the store."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(path, flags, 0o600)

    @property
    def status(self) -> os.stat_result:
        """The file's status."""
        return os.fstat(self._handle)

    def append(self, end: int, changes: Sequence[Change]) -> int:
        """Write one record at ``end``, durably, and return the new end.

        Raises:
            OSError: it could not be written; the caller cuts the journal at ``end``.
        """
        body = b"".join([change.encoded() for change in changes])
        record = b"%s%d %s\n%s" % (
            _COMMIT,
            len(body),
            hashlib.sha256(body).hexdigest().encode(),
            body,
        )
        write_all(self._handle, record, end)
        os.fdatasync(self._handle)
        return end + len(record)

    def cut(self, end: int) -> None:
        """Forget, durably, what stands from ``end`` on."""
        os.ftruncate(self._handle, end)
        os.fdatasync(self._handle)

    def read(self) -> tuple[list[Change], int]:
        """Return the changes of all whole records, and where the last of them ends.

        What follows is a record that was being written when its writer died: nobody was told
        that it counts.

        Raises:
            IntegrityError: a record is damaged, but a whole one follows it.
        """
        data = self._content()
        changes: list[Change] = []
        end = 0
        while (body := _body(data, end)) is not None:
            start, stop = body
            changes += _changes(data[start:stop])
            end = stop
        if _whole_record_after(data, end):
            raise IntegrityError("the journal is damaged before its end: it was altered")
        return changes, end

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def _content(self) -> bytes:
        parts, offset = [], 0
        while part := os.pread(self._handle, 1 << 20, offset):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


def _body(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the body of the record at ``start`` is, if the record is whole."""
    line_end = data.find(b"\n", start, start + 128)
    words = data[start:line_end].split(b" ")
    if line_end < 0 or len(words) != 3 or words[0] + b" " != _COMMIT or not words[1].isdigit():
        return None
    first, last = line_end + 1, line_end + 1 + int(words[1])
    if last > len(data) or hashlib.sha256(data[first:last]).hexdigest().encode() != words[2]:
        return None
    return first, last


def _whole_record_after(data: bytes, start: int) -> bool:
    place = data.find(b"\n" + _COMMIT, start)
    while place >= 0:
        if _body(data, place + 1) is not None:
            return True
        place = data.find(b"\n" + _COMMIT, place + 1)
    return False


def _changes(body: bytes) -> Iterator[Change]:
    place = 0
    while place < len(body):
        line_end = body.index(b"\n", place)
        kind, length, *rest = body[place:line_end].decode().split(" ")
        first, last = line_end + 1, line_end + 1 + int(length)
        data = body[first:last]
        yield Put(rest[0], data) if kind == "put" else Add(rest[1], int(rest[0]), data)
        place = last + 1
