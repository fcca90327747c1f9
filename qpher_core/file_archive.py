# SPDX-License-Identifier: Apache-2.0
"""Several files in one encrypted file: read one after another, written into a new folder."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from qpher_core.errors import DecryptionFailed, ValidationError
from qpher_core.file_body import Description
from qpher_core.file_io import PARTIAL, partial_prefix, sync_folder

__all__ = ["Joined", "Separated", "listed", "new_folder"]

Paths = Mapping[str, str | os.PathLike[str]]


def listed(sources: Paths, metadata: Mapping[str, str] | None) -> tuple[list[Path], Description]:
    """Return the paths of files, and the description of what they become together.

    Raises:
        ValidationError: a name or path cannot be one.
    """
    if not isinstance(sources, Mapping) or not all(
        isinstance(path, str | os.PathLike) for path in sources.values()
    ):
        raise ValidationError("sources must be a mapping of names to paths", parameter="sources")
    paths = [Path(path) for path in sources.values()]
    found = [path.stat() for path in paths]
    for path, status in zip(paths, found, strict=True):
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and has no size
            raise ValidationError(f"{path} must be a regular file", parameter="sources")
    sizes = [status.st_size for status in found]
    return paths, Description.of(metadata, list(zip(sources, sizes, strict=True)))


class Joined:
    """Reads files one after another, each of the size that it had when it was listed."""

    def __init__(self, paths: Sequence[Path], description: Description) -> None:
        sizes = [size for _, size in description.files or ()]
        self._coming = iter(zip(paths, sizes, strict=True))
        self._file: BinaryIO | None = None
        self._left = 0

    def __enter__(self) -> BinaryIO:
        return cast("BinaryIO", self)  # all of a file that reading from it needs

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, size: int) -> bytes:
        """Return up to so many bytes; none at the end.

        Raises:
            ValidationError: a file changed its size.
        """
        while self._left == 0:
            if not self._next():
                return b""
        piece = self._of_this(min(size, self._left))
        if not piece:
            self._changed()
        self._left -= len(piece)
        return piece

    def _next(self) -> bool:
        """Go to the next file, if there is one, after a look at whether this one has ended."""
        if self._of_this(1):
            self._changed()
        self.__exit__()
        path, self._left = next(self._coming, (None, 0))
        self._file = None if path is None else path.open("rb")
        return path is not None

    def _of_this(self, size: int) -> bytes:
        return b"" if self._file is None else self._file.read(size)

    def _changed(self) -> None:
        name = "" if self._file is None else self._file.name
        raise ValidationError(f"{name} changed its size meanwhile", parameter="sources")


class Separated:
    """Writes what :class:`Joined` read as files in a folder."""

    def __init__(self, folder: Path, files: Sequence[tuple[str, int]]) -> None:
        self._folder = folder
        self._coming = iter(files)
        self._file: BinaryIO | None = None
        self._left = 0

    def __enter__(self) -> BinaryIO:
        return cast("BinaryIO", self)  # all of a file that writing to it needs

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        complete = kind is None and self._left == 0 and not self._rest()
        self._end()
        if kind is None and not complete:
            raise DecryptionFailed

    def write(self, data: memoryview) -> int:
        """Write all of it, to as many files as it is for."""
        done = 0
        while done < len(data):
            while self._left == 0:
                if not self._next():
                    raise DecryptionFailed
            piece = data[done : done + self._left]
            cast("BinaryIO", self._file).write(piece)
            done += len(piece)
            self._left -= len(piece)
        return done

    def _rest(self) -> bool:
        """Make the empty files at the end; return whether there are others."""
        while self._left == 0:
            if not self._next():
                return False
        return True

    def _next(self) -> bool:
        self._end()
        name, self._left = next(self._coming, ("", 0))
        if not name:
            return False
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("xb")
        return True

    def _end(self) -> None:
        if self._file is not None:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            self._file = None


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder that appears complete and durable or not at all.

    Raises:
        ValidationError: it exists, or is no path.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ValidationError("folder must be a path", parameter="folder")
    path = Path(folder)
    if path.exists() or path.is_symlink():
        raise ValidationError(f"{path} exists: folder must be a new one", parameter="folder")
    partial = Path(tempfile.mkdtemp(prefix=partial_prefix(path), suffix=PARTIAL, dir=path.parent))
    try:
        yield partial
        for made, _, _ in os.walk(partial):
            sync_folder(Path(made))
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial)
        raise
    sync_folder(path.parent)
