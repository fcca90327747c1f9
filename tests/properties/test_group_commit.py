# SPDX-License-Identifier: Apache-2.0
"""Group commit under threads, with failures in random places."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from qpher_backends.group_commit import GroupCommit
from qpher_core.errors import StoreUnavailable


class Ledger:
    """A transaction over lists: what was committed, what is under way, and how often."""

    def __init__(self, failing: set[int]) -> None:
        self.committed: list[int] = []
        self.pending: list[int] = []
        self.commits = 0
        self._failing = failing
        self._busy = threading.Lock()

    def begin(self) -> list[int]:
        """Begin; two at once would be a bug."""
        assert self._busy.acquire(blocking=False)
        assert self.pending == []
        return self.pending

    def attempt(self, work: Callable[[], None]) -> None:
        """Undo the work alone if it raises."""
        mark = len(self.pending)
        try:
            work()
        except BaseException:
            del self.pending[mark:]
            raise

    def commit(self) -> None:
        """Move what is pending, or fail when told to."""
        self.commits += 1
        if self.commits in self._failing:
            raise StoreUnavailable("disk full")
        self.committed += self.pending
        self.pending.clear()
        self._busy.release()

    def rollback(self) -> None:
        """Forget what is pending."""
        self.pending.clear()
        self._busy.release()


@settings(max_examples=60, deadline=None, database=None)
@given(
    jobs=st.lists(st.sampled_from(["good", "bad"]), min_size=1, max_size=60),
    failing=st.sets(st.integers(1, 20), max_size=5),
)
def test_each_caller_learns_its_own_fate(jobs: list[str], failing: set[int]) -> None:
    """What callers were told is committed is, and nothing else is, whatever failed around it."""
    ledger = Ledger(failing)
    group = GroupCommit(ledger)

    def one(number: int) -> str:
        def work(pending: list[int]) -> int:
            pending.append(number)
            if jobs[number] == "bad":
                raise LookupError(number)
            return number

        try:
            return f"committed {group(work)}"
        except (LookupError, StoreUnavailable) as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(one, range(len(jobs)), timeout=60))
    for number, (job, fate) in enumerate(zip(jobs, told, strict=True)):
        fates = {f"committed {number}"} if job == "good" else {str(number)}
        assert fate in (fates | {"disk full"} if failing else fates)
    done = [n for n, fate in enumerate(told) if fate.startswith("committed")]
    assert sorted(ledger.committed) == done
    assert ledger.commits <= len(jobs)
