# SPDX-License-Identifier: Apache-2.0
"""Records that were read a moment ago, for work that is going to commit.

A use of a key reads the same few records as the use before it. It may take them from here: its
commit then asks whether they still hold, inside the transaction, and if they do not the work is
done again with records that are read anew. They hold as long as this store's own transactions wrote
nothing but audit entries, and SQLite says that no other connection committed anything.
"""

import contextvars
import uuid
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from qpher_backends.sql.run import Run
from qpher_backends.sql.tables import KeyTable, PolicyTable, TenantTable
from qpher_core.models import KeyRecord, KeyRef, PolicyDocument, Tenant

__all__ = ["Mark", "Recent", "RecentKeys", "RecentPolicies", "RecentTenants"]

V = TypeVar("V")

_MOST_QUERIES: Final = 4096

#: Whose answers the running code may be given: that of this thread, or of this greenlet, of which
#: one that gathers requests has several.
_allowed: contextvars.ContextVar[tuple["Recent", "_Answers"] | None] = contextvars.ContextVar(
    "qpher_recent", default=None
)

_Answers = dict[tuple[Hashable, ...], Any]


class Recent:
    """What was read since the last change. One for a store; thread-safe."""

    def __init__(self) -> None:
        self._answers: _Answers | None = None  # None: something has just changed
        self._version: int | None = None

    def begin(self, version: int) -> bool:
        """Begin a transaction; return whether nobody else committed since the one before it.

        Args:
            version: what ``PRAGMA data_version`` says inside of it.
        """
        if version != self._version:
            self._answers = None
            self._version = version
            return False
        if self._answers is None or len(self._answers) > _MOST_QUERIES:
            self._answers = {}  # what is read from now on is at least as new as this moment
        return True

    def drop(self) -> None:
        """Forget everything: the transaction is about to change a row that somebody may hold."""
        self._answers = None

    def kept(self) -> _Answers | None:
        """Return the answers there are now; the same object as long as they hold."""
        return self._answers

    def allow(self, answers: _Answers | None) -> None:
        """Set what the calling thread may be given."""
        _allowed.set(None if answers is None else (self, answers))

    def answer(self, read: Callable[..., V], *address: Hashable) -> V:
        """Return what ``read(*address)`` returns; the calling thread may be given what is kept."""
        allowed = _allowed.get()
        if allowed is None or allowed[0] is not self:
            return read(*address)
        answers = allowed[1]
        question = (read, *address)
        if question not in answers:
            answers[question] = read(*address)
        value: V = answers[question]
        return value


class RecentTenants(TenantTable):
    """Tenants, some of them from a moment ago."""

    def __init__(self, run: Run, recent: Recent) -> None:
        super().__init__(run)
        self._read, self._answer = super().get, recent.answer

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return one tenant."""
        return self._answer(self._read, tenant_id)


class RecentPolicies(PolicyTable):
    """Policies, some of them from a moment ago."""

    def __init__(self, run: Run, recent: Recent) -> None:
        super().__init__(run)
        self._read, self._answer = super().get, recent.answer

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the newest document."""
        return self._answer(self._read, tenant_id)


class RecentKeys(KeyTable):
    """Key records, some of them from a moment ago."""

    def __init__(self, run: Run, recent: Recent) -> None:
        super().__init__(run)
        self._read, self._read_active, self._answer = super().get, super().active, recent.answer

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""
        return self._answer(self._read, ref)

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version."""
        return self._answer(self._read_active, tenant_id, name, algorithm)


class Mark:
    """A moment whose rows a thread works with until it commits."""

    __slots__ = ("_answers", "_recent", "fresh")

    def __init__(self, recent: Recent) -> None:
        self._recent = recent
        self._answers = recent.kept()
        self.fresh = self._answers is None

    def __enter__(self) -> Self:
        """Let the thread read what is kept."""
        self._recent.allow(self._answers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it read the database again."""
        self._recent.allow(None)

    def holds(self) -> bool:
        """Return, inside a transaction, whether all that was given out is still so."""
        return self._answers is not None and self._answers is self._recent.kept()
