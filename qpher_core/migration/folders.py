# SPDX-License-Identifier: Apache-2.0
"""A file or a directory tree as the source of a migration.

Encrypted files change their header alone, in place where there is room; what holds a message or a
wrapped key is small and is replaced. Every file has its old content or its new one, whole.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from qpher_core.errors import ValidationError
from qpher_core.file_header import MAGIC, FileHeader, read_header, replace_header
from qpher_core.file_io import PARTIAL, rewrite
from qpher_core.migration.report import ItemId
from qpher_core.migration.sources import Change, Item

__all__ = ["FolderSource"]

#: Bytes of the largest message that is moved; of a longer one so much is read, which does not open.
_LARGEST_MESSAGE: Final = 64 << 20

_MESSAGE_MAGIC: Final = b"QPH\x01"


class FolderSource:
    """Implements ``Source`` over the regular files under a directory; links are not followed."""

    def __init__(self, path: Path, leave_out: Path | None = None) -> None:
        if not path.exists():
            raise ValidationError(f"{path} does not exist", parameter="source")
        self._root = path if path.is_dir() else path.parent
        left = None if leave_out is None else leave_out.absolute()
        found = _walk(path) if path.is_dir() else [path.name]
        self._names = sorted(n for n in found if (self._root / n).absolute() != left)
        self.name = self.place = str(path.absolute())
        self.total: int | None = len(self._names)

    def batches(self, after: ItemId | None, size: int) -> Iterator[Sequence[Item]]:
        """Yield the files by name; messages are in memory, so fewer at once where they are big."""
        batch: list[Item] = []
        held = 0
        for name in self._names:
            if isinstance(after, str) and name <= after:
                continue
            value = self._read(name)
            held += len(value or b"")
            batch.append(Item(name, value, name))
            if len(batch) >= size or held > _LARGEST_MESSAGE:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch

    def write(self, changes: Sequence[Change]) -> Sequence[ItemId]:
        """Replace files, one by one."""
        return [c.item.id for c in changes if not self._replace(str(c.item.id), c)]

    def _read(self, name: str) -> bytes | None:
        """Return a message, or the header of an encrypted file; None for another file."""
        path = self._root / name
        try:
            with path.open("rb") as file:
                magic = file.read(len(_MESSAGE_MAGIC))
                file.seek(0)
                if magic == MAGIC:
                    return FileHeader.read(file).encode()
                if magic == _MESSAGE_MAGIC:
                    return file.read(_LARGEST_MESSAGE)
        except FileNotFoundError:
            return None  # removed since the names were read
        return None

    def _replace(self, name: str, change: Change) -> bool:
        """Replace one file, or its header, unless it is no longer as it was read."""
        path, old = self._root / name, change.item.value or b""
        if old.startswith(MAGIC):
            return replace_header(path, read_header(old), read_header(change.value)) is not None

        def change_message(reading: BinaryIO, writing: BinaryIO) -> bool:
            writing.write(change.value)
            return reading.read() == old

        try:
            return rewrite(path, change_message)
        except FileNotFoundError:
            return False


def _walk(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root, onerror=_unread):
        for name in names:
            path = Path(folder, name)
            if name.endswith(PARTIAL):
                continue  # left by a writer that was killed
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(root))


def _unread(error: OSError) -> None:
    """Stop at a folder that cannot be read: what is in it would be left without a word."""
    if not isinstance(error, FileNotFoundError):  # removed since its name was read
        raise error
