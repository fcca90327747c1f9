# SPDX-License-Identifier: Apache-2.0
"""Committing: the lock, the journal, the files, in that order; and repairing after a crash."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve

from qpher_backends.filesystem.access import ApiKeyWriter, IdempotencyWriter
from qpher_backends.filesystem.anchors import AnchorWriter
from qpher_backends.filesystem.audit_writer import AuditWriter
from qpher_backends.filesystem.files import TRANSLATED, sync_paths
from qpher_backends.filesystem.gate import Counters, Gate
from qpher_backends.filesystem.journal import Change, Journal, Put, apply
from qpher_backends.filesystem.keys import SERVICE_KEYS, KeyWriter
from qpher_backends.filesystem.tables import IntentWriter, PolicyWriter, TenantWriter
from qpher_backends.filesystem.view import Documents, Transaction
from qpher_core.errors import OutcomeUnknown, StoreUnavailable

__all__ = ["FileTransaction", "Files", "Writer"]

_log: Final = logging.getLogger("qpher_core.store")

_LONG_JOURNAL: Final = 4 << 20  # bytes from which on the journal is emptied
_REMEMBERED: Final = 1024  # files whose identity is kept


class Files:
    """The directory, its lock and its journal: what reading, committing and repairing share."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.gate = Gate(f"{root}/lock")
        self.journal = Journal(f"{root}/journal")
        self._journal_file = self.journal.status
        self._identities: dict[str, int] = {}

    def check_place(self) -> None:
        """Refuse if the directory, the lock or the journal were replaced or unlinked."""
        self.gate.check_place()
        try:
            now = os.stat(f"{self.root}/journal")  # noqa: PTH116
        except OSError as error:
            raise StoreUnavailable(f"{self.root}/journal is gone: {error.strerror}") from error
        if (now.st_ino, now.st_dev) != (self._journal_file.st_ino, self._journal_file.st_dev):
            raise StoreUnavailable(f"{self.root}/journal was replaced while it was open")

    def settled(self) -> Counters:
        """Return the counters, the files being as they say. The caller holds the lock."""
        counters = self.gate.counters()
        whole = counters is not None and counters.settled
        if counters is None or not whole or self.journal.status.st_size != counters.journal:
            counters = self.repair()
        return counters

    def repair(self) -> Counters:
        """Make every recorded change in the files, and empty the journal.

        What its writer died over is cut off the journal: nobody was told that it counts.
        """
        counters = self.gate.counters() or Counters(0, 0, 0)
        changes, end = self.journal.read()
        under_way = evolve(counters, sequence=counters.sequence | 1, journal=end)
        if changes:
            self.gate.set_counters(under_way)
            apply(self.root, changes)
        if self.journal.status.st_size != end:
            self.journal.cut(end)
        self._checkpoint(changes)
        fresh = Counters(under_way.sequence + 1, counters.documents + 1, 0)
        self.gate.set_counters(fresh)
        return fresh

    def checkpoint(self, counters: Counters) -> Counters:
        """Force all files to disk and empty the journal. The caller holds the lock."""
        changes, _ = self.journal.read()
        self._checkpoint(changes)
        emptied = evolve(counters, journal=0)
        self.gate.set_counters(emptied)
        return emptied

    def _checkpoint(self, changes: Sequence[Change]) -> None:
        if changes:
            sync_paths(self.root, {f"{self.root}/{change.path}" for change in changes})
            self.journal.cut(0)

    def size_of(self, path: str) -> int | None:
        """Return the size of a file that grows; refuse if it is not the one of before."""
        try:
            found = os.stat(f"{self.root}/{path}", follow_symlinks=False)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        if self._identities.setdefault(path, found.st_ino) != found.st_ino:
            raise StoreUnavailable(f"{path} was replaced while it was open")
        while len(self._identities) > _REMEMBERED:
            del self._identities[next(iter(self._identities))]
        return found.st_size

    def close(self) -> None:
        """Close lock and journal."""
        self.journal.close()
        self.gate.close()


class Writer:
    """Implements ``StoreWriter`` on one transaction."""

    def __init__(self, transaction: Transaction, audit: AuditWriter) -> None:
        self.audit = audit
        self.keys = KeyWriter(transaction)
        self.service_keys = KeyWriter(transaction, SERVICE_KEYS)
        self.tenants = TenantWriter(transaction, audit.begin_log)
        self.policies = PolicyWriter(transaction)
        self.anchors = AnchorWriter(transaction)
        self.intents = IntentWriter(transaction)
        self.api_keys = ApiKeyWriter(transaction)
        self.idempotency = IdempotencyWriter(transaction)

    @property
    def erases(self) -> bool:
        """Whether a sealed seed is removed."""
        return self.keys.erased or self.service_keys.erased


class FileTransaction:
    """Implements ``group_commit.Transaction``."""

    def __init__(self, files: Files, documents: Documents, check: Callable[[], None]) -> None:
        self._files = files
        self._check = check
        self._documents = documents
        self._left = -1  # sequence that our last commit left: nobody wrote since, if it stands
        self._counters = Counters(0, 0, 0)
        self._transaction = Transaction(documents.at(0))
        self._audit = AuditWriter(self._transaction)
        self._writer = Writer(self._transaction, self._audit)

    def begin(self) -> Writer:
        """Take the lock, repair what a dead process left, and return a writer."""
        self._check()
        with TRANSLATED:
            self._files.gate.acquire()
            self._files.check_place()
            self._counters = self._files.settled()
        self._transaction = Transaction(self._documents.at(self._counters.documents))
        self._audit.begin(self._transaction, keep_tips=self._counters.sequence == self._left)
        self._left = -1
        self._writer = Writer(self._transaction, self._audit)
        return self._writer

    def attempt(self, work: Callable[[], None]) -> None:
        """Run ``work``; undo its writes if it raises."""
        undo = [self._transaction.mark(), self._audit.mark(), self._writer.anchors.mark()]
        try:
            with TRANSLATED:
                work()
        except BaseException:
            for one in undo:
                one()
            raise

    def commit(self) -> None:
        """Write the journal, durably; then the files."""
        with TRANSLATED:
            puts: list[Change] = [*self._transaction.changes()]
            adds = [*self._audit.changes(), *self._writer.anchors.changes()]
            if puts or adds:
                self._files.check_place()
                self._audit.check_places(self._files.size_of)
                self._record([*puts, *adds])
        self._left = self._counters.sequence
        self._files.gate.release()

    def rollback(self) -> None:
        """Forget everything that was not recorded yet."""
        self._files.gate.release()

    def _record(self, changes: Sequence[Change]) -> None:
        files, before = self._files, self._counters
        documents = before.documents + any(isinstance(change, Put) for change in changes)
        try:
            end = files.journal.append(before.journal, changes)
            under_way = Counters(before.sequence + 1, documents, end)
            files.gate.set_counters(under_way)
        except BaseException as error:
            try:
                files.journal.cut(before.journal)
            except OSError:
                raise OutcomeUnknown(
                    f"the journal could be neither written nor cut, and may count: {error}"
                ) from error
            raise
        # From here on it counts. What fails now is made good before anyone reads or writes again.
        try:
            apply(files.root, changes)
            self._counters = evolve(under_way, sequence=under_way.sequence + 1)
            files.gate.set_counters(self._counters)
            moved = self._audit.moved()
            if end > _LONG_JOURNAL or self._writer.erases or moved:
                self._counters = files.checkpoint(self._counters)
            for path in moved:  # the journal names them no more, and the log begins behind them
                os.unlink(f"{files.root}/{path}")  # noqa: PTH108
        except OSError as error:
            _log.warning("what was recorded will be written later: %s", error)
