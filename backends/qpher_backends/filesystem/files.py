# SPDX-License-Identifier: Apache-2.0
"""The few operations on files that everything else here is made of.

Files have mode 0600 and directories 0700. Paths are never followed through a symbolic link at
their end. Errors are ``OSError``; what runs inside :data:`TRANSLATED` gives ``StoreUnavailable``.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable
from typing import Final

from qpher_backends.translated import Translated

__all__ = [
    "TRANSLATED",
    "make_folders",
    "read_at",
    "read_file",
    "replace_file",
    "sync_paths",
    "temporary",
    "write_all",
    "write_at",
]

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_NEW: Final = ".new"
_MANY: Final = 32  # paths from which on one syncfs() is cheaper than one fsync() each
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR)

TRANSLATED: Final = Translated(OSError, "directory")


def temporary(name: str) -> bool:
    """Return whether a file is one that a replacement under way, or cut short, has left."""
    return name.endswith(_NEW)


def write_all(handle: int, data: bytes, offset: int) -> None:
    """Write all of ``data``; a short write is continued until it ends in an error."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def read_file(path: str) -> tuple[bytes, os.stat_result] | None:
    """Return content and status of a file, or None if there is none."""
    try:
        handle = os.open(path, _READ)
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise
    try:
        status = os.fstat(handle)
        parts = []
        while part := os.read(handle, max(status.st_size + 1, 4096)):
            parts.append(part)
        return b"".join(parts), status
    finally:
        os.close(handle)


def read_at(path: str, offset: int, length: int) -> bytes | None:
    """Return up to ``length`` bytes from ``offset``, fewer at the end; None without a file."""
    try:
        handle = os.open(path, _READ)
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise
    try:
        left = os.fstat(handle).st_size - offset  # what was altered may ask for any amount
        return os.pread(handle, min(length, left), offset) if left > 0 else b""
    finally:
        os.close(handle)


def write_at(path: str, offset: int, data: bytes) -> None:
    """Write inside a file or at its end; the file is made if it is written from its start."""
    try:
        handle = os.open(path, _WRITE if offset == 0 else _WRITE & ~os.O_CREAT, 0o600)
    except FileNotFoundError:
        if offset:
            raise
        make_folders(os.path.dirname(path))  # noqa: PTH120 - paths here are text
        handle = os.open(path, _WRITE, 0o600)
    try:
        if os.fstat(handle).st_size < offset:
            raise OSError(errno.EIO, "the file is shorter than what was recorded", path)
        write_all(handle, data, offset)
    finally:
        os.close(handle)


def replace_file(path: str, data: bytes) -> None:
    """Put a file in the place of another, or of none, in one step."""
    partial = path + _NEW
    try:
        handle = os.open(partial, _WRITE | os.O_TRUNC, 0o600)
    except FileNotFoundError:
        make_folders(os.path.dirname(path))  # noqa: PTH120
        handle = os.open(partial, _WRITE | os.O_TRUNC, 0o600)
    try:
        write_all(handle, data, 0)
    finally:
        os.close(handle)
    os.rename(partial, path)  # noqa: PTH104


def make_folders(path: str) -> None:
    """Make a directory and those above it, each with mode 0700."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(os.path.dirname(path))  # noqa: PTH120
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)  # noqa: PTH102 - /proc says again that there is no such place


def sync_paths(root: str, paths: Iterable[str]) -> None:
    """Make files below ``root`` durable, with the directories that lead to them.

    ``root`` itself may be a symbolic link.
    """
    wanted = set(paths)
    for path in list(wanted):
        while len(path) > len(root):
            path = os.path.dirname(path)  # noqa: PTH120, PLW2901 - up to the root
            wanted.add(path)
    if len(wanted) > _MANY and _sync_filesystem(root):
        return
    for path in wanted:
        _sync(f"{root}/." if path == root else path)


def _sync(path: str) -> None:
    handle = os.open(path, _READ)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_filesystem(root: str) -> bool:
    """Write back all of the filesystem at once; False where the system has no ``syncfs``."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        return False
    handle = os.open(f"{root}/.", _READ)
    try:
        if library.syncfs(handle):
            raise OSError(ctypes.get_errno(), "syncfs failed", root)
    finally:
        os.close(handle)
    return True
