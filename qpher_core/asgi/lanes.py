# SPDX-License-Identifier: Apache-2.0
"""Requests that arrived together go to one thread together, and their answers come back so.

Handing a request to a thread and back takes longer than a signature: threads take turns, and
each turn costs. So the event loop hands over all that it has read at once. The thread takes them
one after the other, each as a greenlet. Those that come to calls which are alike wait there, and
one of them runs them at once (``qpher_core.alike``); one that comes to its commit waits until the
others have, and one durable commit does for all of them (``qpher_core.together``). Each has an
entry of its own. What comes meanwhile goes together next: two threads at once would share one
interpreter lock and one lock of the store, and do half as much in each turn.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeVar

from attrs import define, field
from greenlet import GreenletExit, getcurrent, greenlet

from qpher_core.errors import QpherError, Unavailable
from qpher_core.together import Joining, Outcome, Recording, gathering, record_all

__all__ = ["Lanes", "deadline_passed"]

T = TypeVar("T")

#: Requests that go together at most: it bounds how long the first of them waits for the others.
_MOST: Final = 64

#: Seconds that requests wait for the thread that is busy, before another one takes them: one of
#: its requests must be slow.
_PATIENCE: Final = 0.02


def deadline_passed() -> QpherError:
    """Return the error of a request that took too long."""
    return QpherError(
        "the deadline passed; the audit log tells whether it was done", code="ERR_TIMEOUT_001"
    )


@define(eq=False)
class _Ticket:
    """One request: what is to be done, and who waits for it."""

    answer: asyncio.Future[Any]
    until: float
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = field(repr=False)
    outcome: Outcome | None = None

    def run(self, shared: dict[str, Any]) -> None:
        """Do it, unless nobody waits any more."""
        if self.answer.done():
            return
        try:
            self.outcome = Outcome(self.function(*self.arguments, shared))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self.outcome = Outcome(error=error)
        except GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 - such as a panic of foreign code
            # It must not reach the thread, where it would take the other requests with it.
            self.outcome = Outcome(error=RuntimeError(f"cut short by {type(error).__name__}"))

    def settle(self) -> None:
        """Hand over what came of it."""
        if self.answer.done():
            return
        if self.outcome is None:
            self.answer.set_exception(RuntimeError("the thread was cut short"))
        elif self.outcome.error is None:
            self.answer.set_result(self.outcome.value)
        else:
            self.answer.set_exception(self.outcome.error)


class Lanes:
    """Hands requests of one event loop to threads. Used on that loop alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Executor, deadline: float) -> None:
        self.loop = loop
        self._pool = pool
        self._deadline = deadline
        self._waiting: deque[_Ticket] = deque()
        self._under_way: dict[int, float] = {}  # when each thread began
        self._open: dict[_Ticket, None] = {}  # by deadline, the next one first
        self._handing_over = False
        self._looking = False
        self._expiring = False

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what ``function(*arguments, shared)`` gives, within the deadline.

        ``shared`` is a dictionary that the requests which go together have in common; they had
        all arrived when it was made. What still waits when the deadline passes is never begun.

        Raises:
            QpherError: ``ERR_TIMEOUT_001``, the deadline passed.
        """
        answer: asyncio.Future[T] = self.loop.create_future()
        ticket = _Ticket(answer, self.loop.time() + self._deadline, function, arguments)
        self._waiting.append(ticket)
        self._open[ticket] = None
        if not self._handing_over:
            self._handing_over = True
            self.loop.call_soon(self._hand_over)  # after all that the loop has just read
        if not self._expiring:
            self._expiring = True
            self.loop.call_at(ticket.until, self._expire)
        try:
            return await answer
        finally:
            del self._open[ticket]

    # --- on the event loop ---------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Let a thread begin, unless one computes: what comes meanwhile goes together next."""
        self._handing_over = False
        if not self._waiting:
            return
        late = self.loop.time() - _PATIENCE
        if all(began <= late for began in self._under_way.values()):
            self._begin()
        if self._waiting and not self._looking:
            self._looking = True
            self.loop.call_later(_PATIENCE, self._look)

    def _look(self) -> None:
        self._looking = False
        self._hand_over()

    def _begin(self) -> None:
        tickets = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
        try:
            self._pool.submit(self._work, tickets)
        except RuntimeError:  # the pool is closed, or no thread can be started
            self._fail(tickets, Unavailable("no thread takes the request; try again later"))
        else:
            self._under_way[id(tickets)] = self.loop.time()

    def _done(self, tickets: Sequence[_Ticket]) -> None:
        self._under_way.pop(id(tickets), None)  # none: refused, and taken by a thread all the same
        for ticket in tickets:
            ticket.settle()
        self._hand_over()

    def _expire(self) -> None:
        """Answer those whose deadline has passed, and look again when the next one's does."""
        now, late = self.loop.time(), []
        self._expiring = False
        for ticket in self._open:
            if ticket.until > now:
                self._expiring = True
                self.loop.call_at(ticket.until, self._expire)
                break
            late.append(ticket)
        for ticket in late:
            self._fail([ticket], deadline_passed())

    @staticmethod
    def _fail(tickets: Sequence[_Ticket], error: QpherError) -> None:
        for ticket in tickets:
            if not ticket.answer.done():
                ticket.answer.set_exception(error)

    # --- in a thread ---------------------------------------------------------------------------

    def _work(self, tickets: Sequence[_Ticket]) -> None:
        shared: dict[str, Any] = {}
        calls = [partial(ticket.run, shared) for ticket in tickets]
        try:
            _threads.together.run(calls)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._done, tickets)


class _Together:
    """Runs calls in its thread; each waits at its commits until the others have come to theirs."""

    def __init__(self) -> None:
        self._here = getcurrent()
        #: Kept for the next calls: the memory that each has for its stack is slow to get.
        self._idle: list[greenlet] = []

    def run(self, calls: Sequence[Callable[[], None]]) -> None:
        """Run all."""
        while len(self._idle) < len(calls):
            self._idle.append(self._new())
        under_way: list[tuple[greenlet, Any]] = [(self._idle.pop(), call) for call in calls]
        recording: list[tuple[greenlet, Recording]] = []
        parked: list[tuple[greenlet, Joining]] = []
        while under_way:
            joining = self._go_on(under_way, recording)
            under_way = _chosen(joining, parked) + _ended(parked)
            if recording and not under_way:
                outcomes = record_all([what for _, what in recording])
                under_way = list(zip([each for each, _ in recording], outcomes, strict=True))
                recording = []

    def _go_on(
        self,
        under_way: Sequence[tuple[greenlet, Any]],
        recording: list[tuple[greenlet, Recording]],
    ) -> list[tuple[greenlet, Joining]]:
        """Let each go on with what it waits for; add those that come to a commit to ``recording``.

        Returns those that have come to a call which may be alike others.
        """
        joining = []
        with gathering(self._gather):
            for each, given in under_way:
                what = each.switch(given)
                if what is None:
                    self._idle.append(each)
                elif isinstance(what, Recording):
                    recording.append((each, what))
                else:
                    joining.append((each, what))
        return joining

    def _gather(self, what: Recording | Joining) -> Any:
        given = self._here.switch(what)
        return given.get() if isinstance(given, Outcome) else given

    def _new(self) -> greenlet:
        """Return another one, which waits for its first call as it will for each."""
        new = greenlet(self._serve, self._here)
        new.switch()
        return new

    def _serve(self) -> None:
        while True:
            # No name and no argument keeps the call: it holds what was asked and answered.
            self._here.switch(None)()


def _chosen(
    joining: Sequence[tuple[greenlet, Joining]], parked: list[tuple[greenlet, Joining]]
) -> list[tuple[greenlet, Any]]:
    """Return the first call of each kind with all of its kind, which it is to run; park others."""
    kinds: dict[Hashable, list[tuple[greenlet, Joining]]] = {}
    for each, what in joining:
        kinds.setdefault(what.kind, []).append((each, what))
    for alike in kinds.values():
        parked += alike[1:]
    return [(alike[0][0], [what for _, what in alike]) for alike in kinds.values()]


def _ended(parked: list[tuple[greenlet, Joining]]) -> list[tuple[greenlet, Any]]:
    """Take out those whose calls were run: they can go on."""
    ended = [each for each, what in parked if what.ended]
    if ended:
        parked[:] = [(each, what) for each, what in parked if not what.ended]
    return [(each, None) for each in ended]


class _Threads(threading.local):
    """What each thread keeps."""

    def __init__(self) -> None:
        self.together = _Together()


_threads: Final = _Threads()
