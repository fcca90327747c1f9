# SPDX-License-Identifier: Apache-2.0
"""The store over one directory, for any number of threads and processes of one machine."""

import os
import stat
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from qpher_backends.closable import Closable
from qpher_backends.filesystem.access import ApiKeyTable, IdempotencyTable
from qpher_backends.filesystem.anchors import AnchorTable
from qpher_backends.filesystem.audit import AuditTable
from qpher_backends.filesystem.commit import Files, FileTransaction, Writer
from qpher_backends.filesystem.files import TRANSLATED, make_folders
from qpher_backends.filesystem.keys import SERVICE_KEYS, KeyTable
from qpher_backends.filesystem.tables import IntentTable, PolicyTable, TenantTable
from qpher_backends.filesystem.view import Documents, View
from qpher_backends.group_commit import GroupCommit
from qpher_backends.places import path_of
from qpher_core.errors import StoreUnavailable, ValidationError
from qpher_core.file_io import sync_folder

__all__ = ["FileStore", "open_store"]

T = TypeVar("T")

_SCHEME: Final = "file://"
_EXPECTED: Final = "file:///absolute/path"
_FORMAT: Final = b"qpher-files/1\n"
_LOOKS: Final = 200  # attempts to read between two commits before a reader takes the lock
_PAUSE: Final = 0.0001  # seconds; making a commit's changes takes about as long


class FileStore(Closable):
    """Implements ``Store``. Not usable in a process forked from the one that opened it."""

    readers_wait = False
    local = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._root = str(path.absolute())
        self._lock = threading.Lock()
        with TRANSLATED:
            _prepare(self._root)
            self._files = Files(self._root)
        try:
            with TRANSLATED, self._files.gate.exclusive():
                _check_format(self._root)
                self._files.repair()
        except BaseException:
            self._files.close()
            raise
        _opened.add(self)
        self._documents = Documents(self._root)
        transaction = FileTransaction(self._files, self._documents, self._check_usable)
        self._group_commit = GroupCommit[Writer](transaction)
        self.keys = KeyTable(self._look)
        self.service_keys = KeyTable(self._look, SERVICE_KEYS)
        self.audit = AuditTable(self._look)
        self.anchors = AnchorTable(self._look)
        self.tenants = TenantTable(self._look)
        self.policies = PolicyTable(self._look)
        self.intents = IntentTable(self._look)
        self.api_keys = ApiKeyTable(self._look)
        self.idempotency = IdempotencyTable(self._look)

    def __repr__(self) -> str:
        return f"<FileStore {self._root!r}>"

    @property
    def default_protector(self) -> str:
        """A key encryption key in a file beside the directory, so that neither holds both."""
        return f"file://{self._root}.kek"

    def commit(
        self,
        work: Callable[[Writer], T],
        *,
        tenant_id: uuid.UUID | None = None,  # noqa: ARG002 - one lock for all
    ) -> T:
        """Run ``work`` in one durable transaction, shared with concurrent callers."""
        self._check_usable()
        return self._group_commit(work)

    def close(self) -> None:
        """Empty the journal, if nobody works, and close."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._forked:
            return  # the parent's; its files were closed in here by the fork
        with TRANSLATED, self._group_commit.alone():
            try:
                with self._files.gate.exclusive():
                    self._files.check_place()
                    self._files.checkpoint(self._files.settled())
            except (OSError, StoreUnavailable):
                pass  # whoever opens the store next finds the journal and does it
            finally:
                self._files.close()

    def _look(self, function: Callable[[View], T]) -> T:
        """Return ``function(view)`` of a moment at which no commit was being made."""
        self._check_usable()
        with TRANSLATED:
            self._files.gate.check_place()
            for attempt in range(_LOOKS):
                before = self._files.gate.counters()
                if before is None:
                    break
                if not before.settled:
                    time.sleep(_PAUSE * min(attempt + 1, 20))
                    continue
                try:
                    value = function(self._documents.at(before.documents))
                except Exception:
                    if self._files.gate.counters() == before:
                        raise
                    continue
                now = self._files.gate.counters()
                if now is not None and now.sequence == before.sequence:
                    return value
            return self._look_alone(function)

    def _look_alone(self, function: Callable[[View], T]) -> T:
        """Look while holding the lock: a writer has died, or commits follow each other closely."""
        with self._files.gate.exclusive():
            self._check_usable()  # the handles may belong to other files by now
            counters = self._files.settled()
            return function(self._documents.at(counters.documents))


def _prepare(root: str) -> None:
    """Make the directory, or check that it belongs to its owner alone."""
    make_folders(root)
    mode = stat.S_IMODE(os.stat(root).st_mode)  # noqa: PTH116
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreUnavailable(f"{root} must have mode 0700, not {mode:04o}: others may enter it")
    for entry in Path(root).iterdir():
        try:
            mode = stat.S_IMODE(entry.lstat().st_mode)
        except FileNotFoundError:
            continue  # another process has just renamed it
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StoreUnavailable(f"{entry} must not be open to others (mode {mode:04o})")


def _check_format(root: str) -> None:
    path = Path(root) / "format"
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        found = b""
    if not found:  # new, or cut short while it was made
        others = {entry.name for entry in Path(root).iterdir()} - {"format", "lock", "journal"}
        if others:
            raise StoreUnavailable(f"{root} is not empty, and not a store of qpher-core")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, _FORMAT)
            os.fsync(handle)
        finally:
            os.close(handle)
        for folder in (path.parent, path.parent.parent):
            sync_folder(folder)
    elif found != _FORMAT:
        raise StoreUnavailable(f"{path} names a format that this version lacks")


_opened: "weakref.WeakSet[FileStore]" = weakref.WeakSet()


def _after_fork() -> None:
    """Close the parent's files in a child, so that its lock still dies with the parent."""
    for store in list(_opened):
        if not store._closed:  # noqa: SLF001
            store._files.close()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)


def open_store(url: str) -> FileStore:
    """Open ``file:///absolute/path`` of a directory, which is made if need be; the entry point."""
    path = path_of(url, _SCHEME, _EXPECTED)
    if not path.is_absolute():
        raise ValidationError(f"url must be {_EXPECTED}", parameter="url")
    return FileStore(path)
