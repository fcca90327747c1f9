# SPDX-License-Identifier: Apache-2.0
"""Reading and writing files, pipes and file objects; what is written to a path appears whole."""

import contextlib
import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from qpher_core.errors import ValidationError

__all__ = [
    "PARTIAL",
    "FileSource",
    "open_source",
    "open_target",
    "partial_prefix",
    "read_into",
    "read_up_to",
    "ready",
    "rewrite",
    "sync_folder",
    "write_all",
]

#: A path, or a binary file object.
FileSource = str | os.PathLike[str] | BinaryIO

T = TypeVar("T")

#: How names of files and folders end that are not complete.
PARTIAL: Final = ".partial"
_SHOWN_BYTES: Final = 64

#: Objects whose ``readinto`` is known to work; others have ``read`` alone for sure.
_READS_INTO: Final = (io.FileIO, io.BufferedReader)

#: The flag for files without a name, where the system has it.
_NAMELESS: Final = getattr(os, "O_TMPFILE", 0)
_OPEN_FILES: Final = "/proc/self/fd"

#: What makes the system write a range, where it has that (posix_fadvise(2)), and in what pieces.
_FLOW: Final = getattr(os, "POSIX_FADV_DONTNEED", None)
_FLOW_BYTES: Final = 16 << 20


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

    A pipe or device is written as it is, and so is a file object; whether that is complete is
    then the caller's to know.
    """
    if not isinstance(target, str | os.PathLike):
        if not hasattr(target, "write"):
            raise ValidationError("target must be a path or a binary file", parameter="target")
        yield target
        return
    path = Path(os.path.realpath(target))  # a link stays, and what it names is replaced
    if _is_special(path):
        with path.open("wb") as file:
            yield file
        return
    with _new_file(path) as file:
        yield file


def _is_special(path: Path) -> bool:
    """Return whether there is a pipe or device; a name that cannot be one is an error at once."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    handle, partial = _create(path)
    try:
        with _Flowing(handle, "wb") as raw, io.BufferedWriter(raw) as file:
            yield file
            file.flush()
            os.fsync(handle)
            partial = partial or _give_name(handle, path)
        partial.replace(path)
    except BaseException:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class _Flowing(io.FileIO):
    """A file whose content goes to the disk while it is written.

    Else much of a large file waits in memory: writing is then held up by the system, and the end
    by all that is left.
    """

    _written = _flowing = 0

    def write(self, data: Any, /) -> int:
        """Write, and have what came together go to the disk."""
        count = super().write(data)
        self._written += count
        if self._written - self._flowing >= _FLOW_BYTES and _FLOW is not None:
            # The one call that begins to write and does not wait; it discards nothing unwritten.
            os.posix_fadvise(self.fileno(), self._flowing, self._written - self._flowing, _FLOW)
            self._flowing = self._written
        return count


def _create(path: Path) -> tuple[int, Path | None]:
    """Create a file beside ``path``: one without a name, which a crash leaves no trace of.

    Where the file system has none (``O_TMPFILE``, open(2)), it has a name from the beginning.
    """
    if _NAMELESS and Path(_OPEN_FILES).exists():
        with contextlib.suppress(OSError):  # the file system has none
            return os.open(path.parent, _NAMELESS | os.O_WRONLY, 0o600), None
    handle, name = tempfile.mkstemp(prefix=partial_prefix(path), suffix=PARTIAL, dir=path.parent)
    return handle, Path(name)


def partial_prefix(path: Path) -> str:
    """Return how the name of what is not complete begins, so that a leftover explains itself.

    It has the beginning of the final name: what is added would make a long one too long.
    """
    return os.fsencode(path.name)[:_SHOWN_BYTES].decode(errors="ignore") + "."


def _give_name(handle: int, path: Path) -> Path:
    """Link a complete file without a name, under one that ``rename`` can then replace."""
    partial = path.with_name(f"{partial_prefix(path)}{os.urandom(6).hex()}{PARTIAL}")
    # Follows /proc's link to the open file itself (open(2), O_TMPFILE); Python follows links only
    # where a directory is given too, which an absolute path then does not need.
    os.link(f"{_OPEN_FILES}/{handle}", partial, src_dir_fd=handle, follow_symlinks=True)
    return partial


def sync_folder(folder: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rewrite(path: Path, change: Callable[[BinaryIO, BinaryIO], bool]) -> bool:
    """Replace a file by what ``change`` writes of it; mode and, as root, owner stay.

    Returns:
        Whether it was replaced: not if ``change`` says no, or somebody else changed it meanwhile.
    """
    try:
        with path.open("rb") as reading, open_target(path) as writing:
            before = os.fstat(reading.fileno())
            wanted = change(reading, writing)
            _keep_attributes(os.fstat(reading.fileno()), writing.fileno())
            if not wanted or _state(before) != _state(path.stat()):
                raise _NotReplaced
    except _NotReplaced:
        return False
    return True


class _NotReplaced(Exception):  # noqa: N818 - a signal, not an error
    """The new file is not to appear."""


def _state(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs once a file was replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _keep_attributes(status: os.stat_result, target: int) -> None:
    os.fchmod(target, status.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.fchown(target, status.st_uid, status.st_gid)


def ready(got: T | None) -> T:
    """Return what a file gave; None is not the end, nor is all written.

    Raises:
        BlockingIOError: it does not block, and has nothing or takes nothing now.
    """
    if got is None:
        raise BlockingIOError(errno.EAGAIN, "files and pipes must be blocking")
    return got


def read_into(source: BinaryIO, buffer: memoryview) -> int:
    """Fill a buffer and return how much of it; less only at the end (pipes give pieces)."""
    count = 0
    while count < len(buffer):
        if isinstance(source, _READS_INTO):
            got = ready(source.readinto(buffer[count:]))
        else:
            piece = ready(source.read(len(buffer) - count))
            got = len(piece)
            buffer[count : count + got] = piece
        if not got:
            break
        count += got
    return count


def read_up_to(source: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end."""
    data = bytearray(size)
    return bytes(data[: read_into(source, memoryview(data))])


def write_all(target: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of it: a raw file may take it in pieces."""
    written = _write(target, data)
    while isinstance(written, int) and written < len(data):
        data = data[written:]
        written = _write(target, data)


def _write(target: BinaryIO, data: bytes | memoryview) -> object:
    written: object = target.write(data)
    # Of a raw file None says that nothing was written; others may have nothing to say.
    return ready(written) if isinstance(target, io.RawIOBase) else written
