# SPDX-License-Identifier: Apache-2.0
"""Private files of protectors: made once, never overwritten by a second maker, owner's alone."""

import os
import stat
import tempfile
from pathlib import Path

from qpher_core.errors import ProtectorUnavailable

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
        _sync_directory(path.parent)
    except FileExistsError:
        return False  # another process was faster; its file is the one
    except OSError as error:
        raise ProtectorUnavailable(f"cannot create {path}: {error.strerror}") from error
    return True


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a private file: afterwards it has all of it, or nothing.

    Raises:
        ProtectorUnavailable: it cannot be read or written.
    """
    try:
        partial = _write_beside(path, read_private(path) + line)
        partial.replace(path)
        _sync_directory(path.parent)
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


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
