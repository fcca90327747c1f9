# SPDX-License-Identifier: Apache-2.0
"""Timing things side by side: in turns, so that a noisy machine is noisy for all of them.

What is timed is the processor time of the calling thread: what else runs on the machine then costs
only what it takes from caches and clocks. The figure is the median of the rounds, since the time of
a hedged signature is random and a best of several would be a lucky one.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

__all__ = ["Case", "cpu_name", "interleave", "timed"]

_SAMPLE_SECONDS: Final = 0.01
_MOST_CALLS: Final = 100_000


@frozen
class Case:
    """Something to time.

    Attributes:
        operation: what it does; cases of one operation are compared.
        subject: who does it.
        run: does it a number of times and returns the seconds that it took.
        unit: how many operations one time is, for batches.
    """

    operation: str
    subject: str
    run: Callable[[int], float]
    unit: int = 1


def timed(
    call: Callable[[], object], clock: Callable[[], float] = time.thread_time
) -> Callable[[int], float]:
    """Return what calls a function so often and tells the seconds."""

    def run(count: int) -> float:
        start = clock()
        for _ in range(count):
            call()
        return clock() - start

    return run


def interleave(
    cases: Sequence[Case],
    *,
    rounds: int,
    step: Callable[[], None] = lambda: None,
    seconds: float = _SAMPLE_SECONDS,
) -> dict[Case, float]:
    """Return microseconds for one operation of each case: the median of its rounds.

    Args:
        cases: what to time; each is warmed up first.
        rounds: how often all cases take their turn.
        step: called after each sample, for a progress bar; ``rounds * len(cases)`` times.
        seconds: how long one sample takes, at least one call.
    """
    calls = {case: _calls(case, seconds) for case in cases}
    samples: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            taken = case.run(calls[case])
            samples[case].append(taken / calls[case] / case.unit * 1e6)
            step()
    return {case: statistics.median(found) for case, found in samples.items()}


def cpu_name() -> str | None:
    """Return the processor's name, where the system tells one."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a line at a time
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        return None
    return None


def _calls(case: Case, seconds: float) -> int:
    """Return how many calls fill a sample, by doubling until they nearly do."""
    calls = 1
    while calls < _MOST_CALLS:
        taken = case.run(calls)
        if taken >= seconds / 2:
            return max(1, round(calls * seconds / max(taken, 1e-9)))
        calls *= 2
    return calls
