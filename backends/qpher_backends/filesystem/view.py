# SPDX-License-Identifier: Apache-2.0
"""Documents as the tables see them: of one moment, and with what a transaction has written.

A document is a small JSON file. The tables read through a :class:`View` and know neither locks
nor caches; a transaction is a view that can be written.
"""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from attrs import frozen

from qpher_backends.filesystem.files import read_at, read_file, temporary
from qpher_backends.filesystem.journal import Put
from qpher_core.errors import IntegrityError, StoreUnavailable

__all__ = ["Documents", "Look", "Transaction", "View", "encoded"]

T = TypeVar("T")
Parse = Callable[[Mapping[str, Any]], T]  #: a function with a name of its own, not a lambda

_KEPT: Final = 4096  # parsed documents, and listings


class View(Protocol):
    """Documents at one moment."""

    def read(self, path: str, parse: Parse[T]) -> T | None:
        """Return a parsed document, or None if there is none.

        Documents are kept parsed: every reader of a path must parse it to the same value.

        Raises:
            IntegrityError: it is malformed.
            StoreUnavailable: it was there before, and is gone.
        """

    def exists(self, path: str) -> bool:
        """Return whether there is such a document. Errors as :meth:`read`."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a directory, sorted; none if there is no such directory."""

    def listing(self, folder: str, decode: Callable[[list[str]], T]) -> T:
        """Return ``decode`` of the names in a directory; kept as documents are.

        Raises:
            IntegrityError: ``decode`` raises ``ValueError``.
            StoreUnavailable: the directory was there before, and is gone.
        """

    def content(self, path: str) -> bytes | None:
        """Return a file's content as it is stored, or None if there is none."""

    def part(self, path: str, offset: int, length: int) -> bytes | None:
        """Return up to ``length`` bytes of a file, or None if there is none."""

    def size(self, path: str) -> int | None:
        """Return a file's size, or None if there is none."""


class Look(Protocol):
    """Runs a function on a view: for reading, on one that holds still meanwhile."""

    def __call__(self, function: Callable[[View], T]) -> T:
        """Return ``function(view)``."""


@frozen
class _Cached:
    """What was read, when, and what the file or directory looked like."""

    version: int
    mark: tuple[int, int, int, int]
    value: Any


class Documents:
    """Reads documents and keeps them parsed, as long as no file changes. Thread-safe."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._cache: OrderedDict[tuple[str, str], _Cached] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, version: int) -> View:
        """Return a view of the documents as they are now.

        Args:
            version: counts the commits that changed any document (``Counters.documents``).
        """
        return _Current(self, version)

    def read(self, path: str, parse: Parse[T], version: int) -> T | None:
        """Implement :meth:`View.read`."""
        slot = (path, parse.__qualname__)  # two readers may make different things of it
        known = self._cache.get(slot)
        full = f"{self._root}/{path}"
        if known is not None and known.version == version and known.mark == _mark_of(full):
            value: T = known.value
            return value
        found = read_file(full)
        if found is None:
            if known is not None:
                raise StoreUnavailable(f"{full} is gone")
            return None
        data, status = found
        return self._keep(slot, version, _mark(status), _parsed(path, data, parse))

    def exists(self, path: str) -> bool:
        """Implement :meth:`View.exists`."""
        if _mark_of(f"{self._root}/{path}") is not None:
            return True
        if (path, "document") in self._cache:
            raise StoreUnavailable(f"{self._root}/{path} is gone")
        return False

    def listing(self, folder: str, decode: Callable[[list[str]], T], kind: str, version: int) -> T:
        """Implement :meth:`View.listing`; ``kind`` tells apart what is kept of one directory."""
        slot = (folder, kind)
        known = self._cache.get(slot)
        full = f"{self._root}/{folder}"
        mark = _mark_of(full)
        if mark is None:
            if known is not None:
                raise StoreUnavailable(f"{full} is gone")
            return decode([])
        if known is not None and known.version == version and known.mark == mark:
            value: T = known.value
            return value
        found = sorted(name for name in os.listdir(full) if not temporary(name))  # noqa: PTH208
        return self._keep(slot, version, mark, _decoded(folder, found, decode))

    def content(self, path: str) -> bytes | None:
        """Implement :meth:`View.content`."""
        found = read_file(f"{self._root}/{path}")
        return None if found is None else found[0]

    def part(self, path: str, offset: int, length: int) -> bytes | None:
        """Implement :meth:`View.part`."""
        return read_at(f"{self._root}/{path}", offset, length)

    def size(self, path: str) -> int | None:
        """Implement :meth:`View.size`."""
        mark = _mark_of(f"{self._root}/{path}")
        return None if mark is None else mark[1]

    def _keep(
        self, slot: tuple[str, str], version: int, mark: tuple[int, int, int, int], value: T
    ) -> T:
        with self._lock:
            self._cache[slot] = _Cached(version, mark, value)
            self._cache.move_to_end(slot)
            while len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        return value


class _Current:
    """Implements ``View``: the files as they are."""

    __slots__ = ("_documents", "_version")

    def __init__(self, documents: Documents, version: int) -> None:
        self._documents = documents
        self._version = version

    def read(self, path: str, parse: Parse[T]) -> T | None:
        return self._documents.read(path, parse, self._version)

    def exists(self, path: str) -> bool:
        return self._documents.exists(path)

    def names(self, folder: str) -> list[str]:
        return list(self._documents.listing(folder, _same, "names", self._version))

    def listing(self, folder: str, decode: Callable[[list[str]], T]) -> T:
        return self._documents.listing(folder, decode, "listing", self._version)

    def content(self, path: str) -> bytes | None:
        return self._documents.content(path)

    def part(self, path: str, offset: int, length: int) -> bytes | None:
        return self._documents.part(path, offset, length)

    def size(self, path: str) -> int | None:
        return self._documents.size(path)


class Transaction:
    """Implements ``View``, over another, with what was written since it began."""

    def __init__(self, below: View) -> None:
        self._below = below
        self._written: dict[str, bytes] = {}

    def read(self, path: str, parse: Parse[T]) -> T | None:
        """Return a document, written here or before."""
        if path in self._written:
            return _parsed(path, self._written[path], parse)
        return self._below.read(path, parse)

    def exists(self, path: str) -> bool:
        """Return whether there is such a document, written here or before."""
        return path in self._written or self._below.exists(path)

    def names(self, folder: str) -> list[str]:
        """Return the names in a directory, with those that were written here."""
        start = folder + "/"
        new = {
            path.removeprefix(start).partition("/")[0]
            for path in self._written
            if path.startswith(start)
        }
        return sorted({*self._below.names(folder), *new}) if new else self._below.names(folder)

    def listing(self, folder: str, decode: Callable[[list[str]], T]) -> T:
        """Return ``decode`` of the names in a directory."""
        return _decoded(folder, self.names(folder), decode)

    def content(self, path: str) -> bytes | None:
        """Return a file's content, written here or before."""
        return self._written[path] if path in self._written else self._below.content(path)

    def part(self, path: str, offset: int, length: int) -> bytes | None:
        """Return part of a file that no transaction replaces."""
        return self._below.part(path, offset, length)

    def size(self, path: str) -> int | None:
        """Return the size of a file that no transaction replaces."""
        return self._below.size(path)

    def write(self, path: str, document: Mapping[str, Any]) -> None:
        """Write a document."""
        self._written[path] = encoded(document)

    def mark(self) -> Callable[[], None]:
        """Return a function that undoes what is written from here on."""
        before = dict(self._written)

        def undo() -> None:
            self._written = before

        return undo

    def changes(self) -> list[Put]:
        """Return what was written."""
        return [Put(path, data) for path, data in self._written.items()]


def encoded(document: Mapping[str, Any]) -> bytes:
    """Return a document as its file holds it: one member in a line, in alphabetical order."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _parsed(path: str, data: bytes, parse: Parse[T]) -> T:
    try:
        document = json.loads(data.decode("utf-8", "surrogatepass"))
        return parse(document)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise IntegrityError(f"{path} is malformed: it was altered") from None


def _decoded(folder: str, names: list[str], decode: Callable[[list[str]], T]) -> T:
    try:
        return decode(names)
    except ValueError:
        raise IntegrityError(f"{folder} holds a file that does not belong there") from None


def _same(names: list[str]) -> list[str]:
    return names


def _mark(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _mark_of(path: str) -> tuple[int, int, int, int] | None:
    try:
        return _mark(os.stat(path, follow_symlinks=False))  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
