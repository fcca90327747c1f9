# SPDX-License-Identifier: Apache-2.0
"""Rows that were read a moment ago, for work that is going to commit.

A use of a key reads the same few rows as the use before it. It may take them from here: its
commit then asks whether they still hold, inside the transaction, and if they do not the work is
done again with rows that are read anew. They hold as long as this store's own transactions wrote
nothing but audit entries, and SQLite says that no other connection committed anything.
"""

import contextvars
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from qpher_backends.group_commit import Announced, GroupCommit
from qpher_backends.sql.run import Row

__all__ = ["Mark", "Recent"]

_MOST_QUERIES: Final = 4096

#: Whose answers the running code may be given: that of this thread, or of this greenlet, of which
#: one that gathers requests has several.
_allowed: contextvars.ContextVar[tuple["Recent", "_Answers"] | None] = contextvars.ContextVar(
    "qpher_recent", default=None
)

_Query = tuple[str, tuple[Any, ...]]
_Answers = dict[_Query, list[Row]]


class Recent:
    """What queries answered since the last change. One for a store; thread-safe."""

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

    def allowed(self) -> _Answers | None:
        """Return the answers that the calling thread may be given."""
        allowed = _allowed.get()
        return allowed[1] if allowed is not None and allowed[0] is self else None

    @staticmethod
    def keep(answers: _Answers, sql: str, values: Sequence[Any], rows: list[Row]) -> None:
        """Keep the answer of a query for one row."""
        if len(rows) < 2:
            answers[sql, tuple(values)] = rows


class Mark(Announced):
    """A moment whose rows a thread works with until it commits."""

    __slots__ = ("_answers", "_recent", "fresh")

    def __init__(self, group: GroupCommit[Any], recent: Recent) -> None:
        super().__init__(group)
        self._recent = recent
        self._answers = recent.kept()
        self.fresh = self._answers is None

    def __enter__(self) -> Self:
        """Let the thread read what is kept."""
        self._recent.allow(self._answers)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it read the database again."""
        self._recent.allow(None)
        super().__exit__(kind, error, traceback)

    def holds(self) -> bool:
        """Return, inside a transaction, whether all that was given out is still so."""
        return self._answers is not None and self._answers is self._recent.kept()
