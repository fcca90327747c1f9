# SPDX-License-Identifier: Apache-2.0
"""Timing things side by side: in turns, so that a noisy machine is noisy for all of them."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

__all__ = ["Case", "interleave"]

_SAMPLE_SECONDS: Final = 0.01
_MOST_CALLS: Final = 100_000


@frozen
class Case:
    """Something to time.

    Attributes:
        operation: what it does; cases of one operation are compared.
        subject: who does it.
        run: does it a number of times.
        unit: how many operations one time is, for batches.
    """

    operation: str
    subject: str
    run: Callable[[int], object]
    unit: int = 1


def interleave(
    cases: Sequence[Case],
    *,
    rounds: int,
    step: Callable[[], None] = lambda: None,
    seconds: float = _SAMPLE_SECONDS,
) -> dict[Case, float]:
    """Return microseconds for one operation of each case: the best of its rounds.

    Args:
        cases: what to time; each is warmed up first.
        rounds: how often all cases take their turn.
        step: called after each sample, for a progress bar; ``rounds * len(cases)`` times.
        seconds: how long one sample takes, at least one call.
    """
    calls = {case: _calls(case, seconds) for case in cases}
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for case in cases:
            start = time.perf_counter()
            case.run(calls[case])
            taken = time.perf_counter() - start
            best[case] = min(best[case], taken / calls[case] / case.unit * 1e6)
            step()
    return best


def _calls(case: Case, seconds: float) -> int:
    """Return how many calls fill a sample, by doubling until they nearly do."""
    calls = 1
    while calls < _MOST_CALLS:
        start = time.perf_counter()
        case.run(calls)
        taken = time.perf_counter() - start
        if taken >= seconds / 2:
            return max(1, round(calls * seconds / taken))
        calls *= 2
    return calls
