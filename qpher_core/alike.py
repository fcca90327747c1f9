# SPDX-License-Identifier: Apache-2.0
"""Calls that are alike and made at the same time are run at once, by one of those who make them.

There is no background thread. Whoever finds nobody at work on calls like its own runs it at once;
those who come meanwhile wait, and then one of them runs the calls of all. A thread that gathers
calls (``qpher_core.together``) has them at hand, and lets the first of those that are alike run.
Whoever begins waits a little for as many as were run at once before: else the first to come back
would keep the others waiting for a commit of its own. A caller alone does nothing of this.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from attrs import define, field

from qpher_core.together import Gather, Joining, Outcome, gathered
from qpher_core.wake import Wake

__all__ = ["Alike"]

C = TypeVar("C")

#: Calls that are run at once at most: it bounds how long the first of them waits for the others.
_MOST: Final = 64

#: Seconds after which a call is no longer kept waiting by those that are being run: so many times
#: what the calls before took, within limits.
_TURNS: Final = 2
_PATIENCE: Final = 0.05
_MOST_PATIENCE: Final = 1.0

#: Of the time that the calls before took: what is waited for as many to come, and at most.
_SHARE: Final = 0.25
_MOST_SECONDS: Final = 0.005

#: Kinds of which it is remembered how many were run at once.
_MOST_HABITS: Final = 1024

#: Returns what is equal for calls that are alike, or None for a call that no other is like.
KindOf = Callable[[C], Hashable | None]

#: Runs calls that are alike; None for those that their callers are to run by themselves.
Run = Callable[[Sequence[C]], Sequence[Outcome | None]]


@define(eq=False)
class _Place(Joining):
    """One call that waits for its turn."""

    wake: Wake = field(factory=Wake)


class _Line:
    """Calls of one kind, as long as there are any.

    Changed under the lock, but for the end of a turn, which its leader tells alone: an interrupt
    while waiting for the lock must not leave a line that is led for ever.
    """

    __slots__ = ("expected", "leader", "turn", "waiting")

    def __init__(self, expected: tuple[int, float]) -> None:
        self.expected = expected  # how many calls are to come, and the seconds they take
        self.leader: _Place | None = None  # whose caller runs calls
        self.turn: list[_Place] = []  # what the leader runs
        self.waiting: list[_Place] = []

    @property
    def patience(self) -> float:
        """Seconds that a call waits for those that are being run."""
        _, seconds = self.expected
        return min(max(_TURNS * seconds, _PATIENCE), _MOST_PATIENCE)


class Alike(Generic[C]):
    """Brings calls together. Thread-safe."""

    def __init__(self, kind_of: KindOf[C], run: Run[C]) -> None:
        self._kind_of = kind_of
        self._run = run
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._lines: dict[Hashable, _Line] = {}
        self._under_way: list[None] = []  # one for each call, other than those that are gathered
        #: How many of a kind were run at once, and how long it took, by its hash: what a kind is
        #: made of is the callers' and not kept.
        self._habits: dict[int, tuple[int, float]] = {}
        self._crowded = False  # whether the calls before were more than one

    def __call__(self, call: C) -> Outcome | None:
        """Run a call, alone or with those that are alike; None if its caller is to run it."""
        gather = gathered()
        if gather is not None:
            kind = self._kind_of(call)
            return None if kind is None else self._gathered(gather, kind, call)
        self._under_way.append(None)
        try:
            alone = len(self._under_way) == 1 and not self._crowded
            kind = None if alone else self._kind_of(call)
            return self._run((call,))[0] if kind is None else self._in_line(kind, call)
        finally:
            self._under_way.pop()

    def _in_line(self, kind: Hashable, call: C) -> Outcome | None:
        if os.getpid() != self._pid:
            return None  # forked: those that are in line and their locks stayed behind
        place, line = _Place(kind, call), None
        try:
            with self._lock:
                line = self._lines.get(kind)
                if line is None:
                    line = self._lines[kind] = _Line(self._habits.get(hash(kind), (1, 0.0)))
                line.waiting.append(place)
                if line.leader is not None and len(line.waiting) >= line.expected[0]:
                    line.leader.wake.signal()
            self._see_ended(kind, line, place)
        finally:
            if line is not None:
                if line.leader is place:
                    line.turn, line.leader = [], None
                self._leave(kind, line, place)
        return place.outcome

    def _see_ended(self, kind: Hashable, line: _Line, place: _Place) -> None:
        """Wait until the call was run, run those that wait, or give up waiting."""
        patient = line.leader is None or place.wake.wait(line.patience)
        while not place.ended:
            with self._lock:
                leads = line.leader is None or line.leader is place
                if place not in line.waiting:
                    if leads or place not in line.turn:
                        return  # it has just ended, or whoever took it was interrupted
                elif leads:
                    line.leader = place
                elif not patient:
                    line.waiting.remove(place)
                    return  # those that are being run take their time
            if leads:
                self._lead(kind, line, place)
            else:
                patient = place.wake.wait(line.patience)

    def _lead(self, kind: Hashable, line: _Line, place: _Place) -> None:
        """Wait a little for as many as before, and run those that have come."""
        expected, seconds = line.expected
        if len(line.waiting) < expected:
            place.wake.wait(min(seconds * _SHARE, _MOST_SECONDS))
        with self._lock:
            line.turn, line.waiting = line.waiting[:_MOST], line.waiting[_MOST:]
        count, begun = len(line.turn), time.monotonic()
        try:
            self._run_all(line.turn)
        finally:
            for each in line.turn:
                each.wake.signal()
            line.expected = self._expect(kind, count, time.monotonic() - begun)

    def _expect(self, kind: Hashable, count: int, seconds: float) -> tuple[int, float]:
        """Remember how many were run at once, and return it."""
        self._crowded = count > 1
        if count == 1:
            self._habits.pop(hash(kind), None)
        else:
            if len(self._habits) >= _MOST_HABITS:
                self._habits.clear()
            self._habits[hash(kind)] = count, seconds
        return count, seconds

    def _run_all(self, joined: Sequence[Joining]) -> None:
        try:
            outcomes = self._run([each.call for each in joined])
            for each, outcome in zip(joined, outcomes, strict=True):
                each.outcome = outcome
        finally:
            for each in joined:
                each.ended = True

    def _leave(self, kind: Hashable, line: _Line, place: _Place) -> None:
        """Take the place away, and let the next one run those that wait."""
        with self._lock:
            if place in line.waiting:  # its caller was interrupted
                line.waiting.remove(place)
            if line.leader is not None:
                return
            if line.waiting:
                line.waiting[0].wake.signal()
            elif self._lines.get(kind) is line:
                del self._lines[kind]

    def _gathered(self, gather: Gather, kind: Hashable, call: C) -> Outcome | None:
        joining = Joining((self, kind), call)
        chosen: Sequence[Joining] | None = gather(joining)
        if chosen is not None:
            self._run_all(chosen)
        return joining.outcome
