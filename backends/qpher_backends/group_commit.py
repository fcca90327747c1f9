# SPDX-License-Identifier: Apache-2.0
"""Group commit: callers that arrive while a commit is under way share the next one.

There is no background thread. Whoever finds no leader becomes one and commits for everybody who
waits; a caller alone commits its own work at once, as it would without this. Whoever leads waits a
little for as many as came before. A leader that is done wakes those whose work it did, and one of
those who wait to lead next.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from qpher_core.errors import OutcomeUnknown, StoreUnavailable
from qpher_core.wake import Wake

__all__ = ["GroupCommit", "Transaction", "TransactionLost"]

W_co = TypeVar("W_co", covariant=True)
W = TypeVar("W")
T = TypeVar("T")

#: Work that shares one transaction at most; bounds how long the first of them waits.
_MOST_JOBS: Final = 256

#: Seconds after which a caller no longer waits for as many as before, and looks for itself: an
#: interrupted leader may have woken nobody. So many commits' time, within limits.
_COMMITS: Final = 3
_LEAST_PATIENCE: Final = 0.002
_MOST_PATIENCE: Final = 0.05


class TransactionLost(Exception):  # noqa: N818 - a signal, not an error
    """A transaction of a store was undone by a conflict or a lost connection: begin it again."""

    def __init__(self, transaction: object) -> None:
        super().__init__("the transaction was lost")
        self.transaction = transaction


class Transaction(Protocol[W_co]):
    """One durable transaction of a store. Used by one thread at a time.

    ``begin``, ``attempt`` and ``commit`` may raise ``TransactionLost``; everybody's work is then
    done again, in a new one. How often is for the transaction to say.
    """

    def begin(self) -> W_co:
        """Begin, and return the writer."""

    def attempt(self, work: Callable[[], None]) -> None:
        """Run ``work`` so that, if it raises, its writes alone are undone.

        Raises what ``work`` raised; ``StoreUnavailable`` if the whole transaction is lost.
        """

    def commit(self) -> None:
        """Make everything durable, or raise ``StoreUnavailable``."""

    def rollback(self) -> None:
        """Undo everything. Never raises."""


class _Job(Generic[W]):
    __slots__ = ("done", "error", "value", "wake", "work")

    def __init__(self, work: Callable[[W], Any]) -> None:
        self.work = work
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.wake = Wake()

    def run(self, writer: W) -> None:
        self.value = self.work(writer)


class GroupCommit(Generic[W]):
    """Runs work in shared durable transactions. Thread-safe."""

    def __init__(self, transaction: Transaction[W]) -> None:
        self._transaction = transaction
        self._waiting: list[_Job[W]] = []
        self._waiting_lock = threading.Lock()
        self._leading = threading.Lock()
        self._leader: int | None = None  # thread that leads; only it can find itself here
        self._ending = False  # whether the transaction is being made durable
        self._last_jobs = 1  # that shared a commit
        self._patience = _MOST_PATIENCE  # seconds, until a caller no longer waits for others

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for the commit under way and let no other begin: what it uses is to be closed."""
        if self._leader == threading.get_ident():
            raise RuntimeError("work must not close the store that it is committed to")
        with self._leading:
            yield

    def __call__(self, work: Callable[[W], T]) -> T:
        """Run ``work`` and return its result once it is durable."""
        me = threading.get_ident()
        if self._leader == me:
            raise RuntimeError("work must not commit: it is inside a commit already")
        job: _Job[W] = _Job(work)
        with self._waiting_lock:
            self._waiting.append(job)
        try:
            self._see_done(job)
        except BaseException:
            self._abandon(job)
            raise
        if job.error is not None:
            raise job.error
        if not job.done:
            # Its leader was interrupted (Ctrl-C) where nothing can be caught any more.
            raise _interrupted(ending=True)
        value: T = job.value
        return value

    def _see_done(self, job: _Job[W]) -> None:
        """Wait for a leader, or lead, until the job is done or given up."""
        if self._leading.locked() or not self._ripe():
            job.wake.wait(self._patience)
        if not job.done:
            with self._leading:
                self._leader = threading.get_ident()
                try:
                    while not job.done and self._is_waiting(job):
                        self._lead()
                finally:
                    self._leader = None
            self._wake_next()

    def _ripe(self) -> bool:
        """Return whether as many wait as came last time.

        Each commit lets other threads run half a dozen times, and waits for them each time: two
        commits of half the callers take much longer than one of all of them.
        """
        return len(self._waiting) >= self._last_jobs

    def _abandon(self, job: _Job[W]) -> None:
        """Leave nobody to run the job of a caller that was interrupted, once it is gone.

        What the work uses may end with the caller: the transaction of another store.
        """
        with self._waiting_lock:
            if job in self._waiting:
                self._waiting.remove(job)
                return
        with self._leading:  # whoever took the job is done with it
            pass

    def _is_waiting(self, job: _Job[W]) -> bool:
        with self._waiting_lock:
            return job in self._waiting

    def _wake_next(self) -> None:
        """Wake one of those who wait, to lead."""
        with self._waiting_lock:
            if self._waiting and self._ripe() and not self._leading.locked():
                self._waiting[0].wake.signal()

    def _lead(self) -> None:
        with self._waiting_lock:
            jobs, self._waiting = self._waiting[:_MOST_JOBS], self._waiting[_MOST_JOBS:]
        committed = False
        try:
            while not self._ran(jobs):
                self._transaction.rollback()
            committed = True
            _settle(jobs)
        except StoreUnavailable as error:
            self._transaction.rollback()
            _fail(jobs, error)
        except BaseException as error:
            # The leader itself was interrupted: nobody's work counts, unless that was too late.
            if committed:
                _settle(jobs)
            else:
                self._transaction.rollback()
                _fail(jobs, _interrupted(ending=self._ending))
            raise error from None

    def _ran(self, jobs: Sequence[_Job[W]]) -> bool:
        """Run the work and commit; return whether the transaction was not lost meanwhile."""
        try:
            self._run(jobs)
        except TransactionLost as lost:
            if lost.transaction is not self._transaction:
                raise
            return False
        return True

    def _run(self, jobs: Sequence[_Job[W]]) -> None:
        self._ending = False
        writer = self._transaction.begin()
        for job in jobs:
            job.error = None
            try:
                self._transaction.attempt(lambda job=job: job.run(writer))  # type: ignore[misc]
            except StoreUnavailable:
                raise
            except TransactionLost as lost:
                if lost.transaction is self._transaction:
                    raise
                job.error = lost  # of the store whose work this is
            except Exception as error:  # noqa: BLE001 - handed to the caller whose work it was
                job.error = error
        start, self._ending = time.monotonic(), True
        self._transaction.commit()
        self._last_jobs, taken = len(jobs), time.monotonic() - start
        self._patience = min(max(_COMMITS * taken, _LEAST_PATIENCE), _MOST_PATIENCE)


def _settle(jobs: Sequence[_Job[W]]) -> None:
    for job in jobs:
        job.done = True
    for job in jobs:
        job.wake.signal()


def _fail(jobs: Sequence[_Job[W]], error: StoreUnavailable) -> None:
    for job in jobs:
        job.error = type(error)(str(error))
        job.error.__cause__ = error
    _settle(jobs)


def _interrupted(*, ending: bool) -> StoreUnavailable:
    """Return the error of those whose leader was interrupted, at the end or before."""
    if ending:
        return OutcomeUnknown("the commit was interrupted, and may have been made")
    return StoreUnavailable("the commit was interrupted")
