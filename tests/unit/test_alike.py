# SPDX-License-Identifier: Apache-2.0
"""Calls that are alike: each is run once, by one of its callers, and none waits for ever."""

import ctypes
import dis
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType

import pytest

from qpher_core import alike
from qpher_core.alike import Alike
from qpher_core.together import Joining, Outcome, gathering

#: A kind, and what is the call's own.
Call = tuple[Hashable, int]


class Led:
    """A thread that runs the call ``("a", 0)`` until it is let go."""

    def __init__(self) -> None:
        self.turns: list[list[Call]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self.alike = Alike[Call](lambda call: call[0], self._run)
        self.alike._under_way.append(None)  # somebody else is about, so that nobody is alone
        self.pool = ThreadPoolExecutor(100)
        self.leader = self.pool.submit(self, ("a", 0))
        assert self.begun.wait(10)

    def __call__(self, call: Call) -> object:
        """Make a call; return its value, or None if it was given back."""
        outcome = self.alike(call)
        return None if outcome is None else outcome.get()

    def _run(self, calls: Sequence[Call]) -> list[Outcome | None]:
        self.turns.append(list(calls))
        if calls[0] == ("a", 0):
            self.begun.set()
            assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return [Outcome(number) for _, number in calls]

    def follow(self, numbers: Sequence[int]) -> list[Future[object]]:
        """Make calls that are alike, and return once all wait."""
        futures = [self.pool.submit(self, ("a", number)) for number in numbers]
        until(lambda: self._waiting() == len(numbers))
        return futures

    def _waiting(self) -> int:
        line = self.alike._lines.get("a")
        return 0 if line is None else len(line.waiting)


def until(met: Callable[[], bool]) -> None:
    """Wait until a condition is met."""
    for _ in range(2000):
        if met():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> Iterator[Led]:
    """Give a thread that runs calls; others wait for it as long as it takes."""
    monkeypatch.setattr(alike, "_PATIENCE", 10.0)
    monkeypatch.setattr(alike, "_MOST_PATIENCE", 10.0)
    led = Led()
    yield led
    led.go.set()
    led.pool.shutdown()
    assert not led.alike._lines  # nothing is left of any call
    assert led.alike._under_way == [None]


def test_alone() -> None:
    """A call alone is run alone, without asking what it is like."""
    kinds: list[Call] = []
    alone = Alike[Call](kinds.append, lambda calls: [Outcome(len(calls))])
    outcome = alone(("a", 1))
    assert outcome is not None
    assert outcome.get() == 1
    assert not kinds


def test_those_that_come_meanwhile_are_run_at_once(led: Led) -> None:
    """While calls of a kind are being run others wait, are then run at once, and get their own."""
    futures = led.follow(range(1, 5))
    led.go.set()
    assert [future.result(10) for future in (led.leader, *futures)] == [0, 1, 2, 3, 4]
    assert [sorted(turn) for turn in led.turns] == [[("a", 0)], [("a", n) for n in range(1, 5)]]


def test_other_kinds_do_not_wait(led: Led) -> None:
    """A call of another kind is run meanwhile, and so is one that no other is like."""
    assert led(("b", 7)) == 7
    assert led((None, 8)) == 8
    assert not led.leader.done()


def test_no_more_than_so_many_at_once(led: Led) -> None:
    """More than 64 calls are several turns; each gets its own outcome."""
    futures = led.follow(range(1, 81))
    led.go.set()
    assert [future.result(10) for future in futures] == [*range(1, 81)]
    assert max(map(len, led.turns)) == 64
    assert sorted(call for turn in led.turns for call in turn) == [("a", n) for n in range(81)]


def test_as_many_as_before_are_waited_for(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    """After several were run at once, the first to come back does not begin without the others."""
    futures = led.follow(range(1, 5))
    led.go.set()
    assert [future.result(10) for future in futures] == [1, 2, 3, 4]
    monkeypatch.setattr(alike, "_SHARE", 1e6)
    monkeypatch.setattr(alike, "_MOST_SECONDS", 10.0)
    back = led.follow(range(5, 8))
    assert len(led.turns) == 2
    back.append(led.pool.submit(led, ("a", 8)))
    assert [future.result(10) for future in back] == [5, 6, 7, 8]
    assert sorted(led.turns[2]) == [("a", number) for number in range(5, 9)]


def test_a_habit_ends_and_keeps_nothing(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes alone waits once for those of before; what their calls were about is not kept."""
    futures = led.follow(range(1, 5))
    led.go.set()
    assert [future.result(10) for future in futures] == [1, 2, 3, 4]
    assert [*led.alike._habits] == [hash("a")]
    monkeypatch.setattr(alike, "_MOST_SECONDS", 0.001)
    led.error = ValueError()
    with pytest.raises(ValueError):  # noqa: PT011 - ours
        led(("a", 5))
    assert not led.alike._habits
    assert not led.alike._crowded


def test_who_waits_too_long_goes_alone(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is held up by a slow one is given back to its caller, and not run as well."""
    monkeypatch.setattr(alike, "_PATIENCE", 0.01)
    assert led(("a", 1)) is None
    led.go.set()
    assert led.leader.result(10) == 0
    assert led.turns == [[("a", 0)]]


def test_a_call_within_a_call_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running a call may make another one that is alike."""
    monkeypatch.setattr(alike, "_PATIENCE", 0.01)
    inner: list[Outcome | None] = []

    def run(calls: Sequence[Call]) -> list[Outcome | None]:
        if calls[0][1] == 0:
            inner.append(nested(("a", 1)))
        return [Outcome(number) for _, number in calls]

    nested = Alike[Call](lambda call: call[0], run)
    nested._under_way.append(None)
    outcome = nested(("a", 0))
    assert outcome is not None
    assert outcome.get() == 0
    assert inner == [None]


def test_those_of_a_turn_that_is_cut_short_go_alone(led: Led) -> None:
    """If the thread that runs calls is interrupted, those callers run them; others go on."""
    futures = led.follow(range(1, 4))
    led.error = KeyboardInterrupt()
    led.go.set()
    assert isinstance(led.leader.exception(10), KeyboardInterrupt)
    # The next turn is cut short as well: its leader is interrupted, the others go alone.
    ends = [future.exception(10) or future.result() for future in futures]
    assert sorted(map(repr, ends)) == ["KeyboardInterrupt()", "None", "None"]
    led.error = None
    assert led(("a", 9)) == 9


def test_who_is_interrupted_while_waiting_leaves(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is interrupted is not run, and those that come after it are."""
    ends: list[object] = []

    def wait() -> None:
        try:
            ends.append(led(("a", 1)))
        except KeyboardInterrupt:
            ends.append("interrupted")

    monkeypatch.setattr(alike, "_PATIENCE", 0.3)
    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: len(led.alike._lines["a"].waiting) == 1)
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
    )
    thread.join(10)
    assert ends == ["interrupted"]
    monkeypatch.setattr(alike, "_PATIENCE", 10.0)
    (next_one,) = led.follow([2])
    led.go.set()
    assert next_one.result(10) == 2
    assert led.turns == [[("a", 0)], [("a", 2)]]


def test_a_forked_child_waits_for_nobody(led: Led) -> None:
    """In a child those that run calls are gone, and locks that they held are never given back."""
    with led.alike._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            try:
                os._exit(led(("a", 1)) is not None)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


class Interrupts:
    """Interrupts a thread at one of the places where Python looks for signals."""

    def __init__(self, place: int) -> None:
        self.left = place
        self._before: dict[FrameType, str] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> "Interrupts | None":
        """Trace the module's functions, and raise at the place."""
        if event == "call":
            if frame.f_code.co_filename != alike.__file__:
                return None
            frame.f_trace_opcodes = True
        elif event == "opcode":
            before = self._before.get(frame, "")
            self._before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            self.left -= before in {"CALL", "CALL_KW", "RESUME", "JUMP_BACKWARD"}
            if self.left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def interrupted(brought: Alike[Call], interrupts: Interrupts) -> bool:
    """Make the call ``("a", 0)``; return whether it was interrupted."""
    sys.settrace(interrupts)
    try:
        brought(("a", 0))
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("place", range(70))
def test_an_interrupt_anywhere_is_nobody_elses(place: int) -> None:
    """Wherever a caller is interrupted, others end, and those that come later do not wait."""
    go = threading.Event()

    def run(calls: Sequence[Call]) -> list[Outcome | None]:
        assert calls
        assert go.wait(10)
        return [Outcome(number) for _, number in calls]

    brought = Alike[Call](lambda call: call[0], run)
    brought._under_way.append(None)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(brought, ("a", 4))
        until(lambda: bool(brought._lines))
        second = pool.submit(interrupted, brought, Interrupts(place))
        others = [pool.submit(brought, ("a", number)) for number in range(1, 4)]
        time.sleep(0.005)
        go.set()
        second.result(10)
        for number, future in enumerate((*others, first), 1):
            outcome = future.result(10)
            assert outcome is None or outcome.get() == number
    assert all(brought(("a", number)) is not None for number in range(2))
    assert not brought._lines


def test_each_is_run_once_under_load() -> None:
    """Of thousands of calls of a few kinds each is run once and gets what is its own."""
    ran: list[Call] = []
    alone: list[Call] = []

    def run(calls: Sequence[Call]) -> list[Outcome | None]:
        assert len({kind for kind, _ in calls}) == 1
        ran.extend(calls)
        time.sleep(0.0001)
        return [Outcome(call) for call in calls]

    brought = Alike[Call](lambda call: call[0], run)

    def make(number: int) -> None:
        call = (number % 3, number)
        outcome = brought(call)
        if outcome is None:
            alone.append(call)
        else:
            assert outcome.get() == call

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(make, range(6000)))
    assert sorted(ran + alone, key=lambda call: call[1]) == [(n % 3, n) for n in range(6000)]
    assert not brought._lines
    assert not brought._under_way


def test_who_gives_up_is_not_run_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose caller loses patience just as others begin to run it is still run once."""
    monkeypatch.setattr(alike, "_PATIENCE", 0.001)
    ran: list[int] = []

    def run(calls: Sequence[Call]) -> list[Outcome | None]:
        ran.extend(number for _, number in calls)
        time.sleep(0.001)
        return [Outcome(number) for _, number in calls]

    brought = Alike[Call](lambda call: call[0], run)
    interval = sys.getswitchinterval()

    def make(number: int) -> None:
        outcome = brought(("a", number))
        if outcome is None:
            ran.append(number)

    sys.setswitchinterval(1e-5)  # threads take turns in the middle of everything
    try:
        with ThreadPoolExecutor(24) as pool:
            list(pool.map(make, range(3000)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(ran) == [*range(3000)]


def test_a_thread_that_gathers_lets_one_run_them() -> None:
    """Where a thread has the calls at hand, one of them is given all; the others get theirs."""
    brought = Alike[Call](lambda call: call[0], lambda calls: [Outcome(n) for _, n in calls])
    other = Joining("a", ("a", 2))

    def all_of_them(what: object) -> object:
        assert isinstance(what, Joining)
        return [what, other]

    with gathering(all_of_them):
        chosen = brought(("a", 1))
    assert chosen is not None
    assert chosen.get() == 1
    assert other.outcome is not None
    assert (other.outcome.get(), other.ended) == (2, True)

    def ran_by_another(what: object) -> None:
        assert isinstance(what, Joining)
        what.outcome = Outcome("by another")

    with gathering(ran_by_another):
        joined = brought(("a", 3))
    assert joined is not None
    assert joined.get() == "by another"
