# SPDX-License-Identifier: Apache-2.0
"""Private files of protectors: made once, never overwritten by a second maker, owner's alone."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qpher_core.errors import ProtectorUnavailable
from qpher_core.file_io import open_target, sync_folder

__all__ = ["append_line", "create_once", "read_private"]


def create_once(path: Path, data: bytes) -> bool:
    """Make a file, complete and durable; return False if it is there already.

    Raises:
        ProtectorUnavailable: it cannot be made.
    """
    try:
        partial = _write_beside(path, data)
        try:
            # A link, unlike a rename, never replaces what another process made.
            os.link(partial, path)
        finally:
            partial.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        return False  # another process was faster; its file is the one
    except OSError as error:
        raise ProtectorUnavailable(f"cannot create {path}: {error.strerror}") from error
    return True


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a private file: afterwards it has all of it, or nothing.

    Whoever else adds one at the same moment waits. A symbolic link stays one.

    Raises:
        ProtectorUnavailable: it cannot be read or written.
    """
    try:
        place = path.resolve()
        with _alone(place):
            before = read_private(place)
            ended = before if before.endswith(b"\n") else before + b"\n"  # not by every editor
            with open_target(place) as file:
                file.write(ended + line)
    except OSError as error:
        raise ProtectorUnavailable(f"cannot write {path}: {error.strerror}") from error


def read_private(path: Path) -> bytes:
    """Return the content of a file that belongs to its owner alone.

    Raises:
        ProtectorUnavailable: it is missing, or others may read or write it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ProtectorUnavailable(
                    f"{path} must have mode 0600, not {mode:04o}: others may read it"
                )
            return file.read()
    except OSError as error:
        raise ProtectorUnavailable(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of the file that is at a path, not of one that was replaced meanwhile."""
    mode = "r+b" if os.access(path, os.W_OK) else "rb"  # NFS locks what can be written
    while True:
        with path.open(mode) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return


def _write_beside(path: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:  # mkstemp gave it mode 0600
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)
