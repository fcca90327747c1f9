# SPDX-License-Identifier: Apache-2.0
"""Group commit: who shares, who fails, and what an interrupted leader leaves behind."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from qpher_backends.group_commit import GroupCommit
from qpher_core.errors import OutcomeUnknown, StoreUnavailable


class Counting:
    """A transaction over a list that counts its commits; each takes as long as it is told."""

    def __init__(self) -> None:
        self.committed: list[object] = []
        self.pending: list[object] = []
        self.begins = self.commits = self.rollbacks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.failure: BaseException | None = None

    def begin(self) -> list[object]:
        """Count."""
        self.begins += 1
        self.begun.set()
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
        """Wait at the gate, then count, as a slow disk would."""
        assert self.gate.wait(timeout=30)
        self.commits += 1
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        self.committed += self.pending
        self.pending.clear()

    def rollback(self) -> None:
        """Forget."""
        self.rollbacks += 1
        self.pending.clear()


@pytest.fixture
def transaction() -> Counting:
    """Return a counting transaction."""
    return Counting()


def adding(value: object) -> Callable[[list[object]], object]:
    """Return work that adds a value and returns it."""

    def work(pending: list[object]) -> object:
        pending.append(value)
        return value

    return work


def held_up(
    transaction: Counting, jobs: list[Callable[[list[object]], object]]
) -> list[Future[object]]:
    """Run the first job as a leader whose commit waits until all other jobs have arrived."""
    group = GroupCommit(transaction)
    transaction.gate.clear()
    pool = ThreadPoolExecutor(len(jobs))
    futures = [pool.submit(group, jobs[0])]
    assert transaction.begun.wait(timeout=30)
    futures += [pool.submit(group, job) for job in jobs[1:]]
    deadline = time.monotonic() + 30
    while len(group._waiting) < len(jobs) - 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    transaction.gate.set()
    pool.shutdown(wait=True)
    return futures


def test_one_caller_commits_at_once(transaction: Counting) -> None:
    """A caller alone gets its value after one commit of its own."""
    assert GroupCommit(transaction)(adding("a")) == "a"
    assert (transaction.begins, transaction.commits) == (1, 1)
    assert transaction.committed == ["a"]


def test_followers_share_one_commit(transaction: Counting) -> None:
    """Callers that arrive during a commit share the next: twenty take two."""
    futures = held_up(transaction, [adding(number) for number in range(20)])
    assert [future.result() for future in futures] == list(range(20))
    assert (transaction.begins, transaction.commits) == (2, 2)
    assert sorted(transaction.committed, key=str) == sorted(range(20), key=str)


def test_a_batch_has_a_largest_size(transaction: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """More callers than a batch takes share as many commits as are needed."""
    monkeypatch.setattr("qpher_backends.group_commit._MOST_JOBS", 4)
    futures = held_up(transaction, [adding(number) for number in range(11)])
    assert [future.result() for future in futures] == list(range(11))
    assert transaction.commits == 1 + 3


def test_one_job_that_raises_hurts_no_other(transaction: Counting) -> None:
    """Of the jobs that share a commit, one that raises is undone and gets its own error."""

    def fail(pending: list[object]) -> None:
        pending.append("wrong")
        raise LookupError("mine")

    futures = held_up(transaction, [adding(0), adding(1), fail, adding(2)])
    with pytest.raises(LookupError, match="mine"):
        futures[2].result()
    assert [futures[n].result() for n in (0, 1, 3)] == [0, 1, 2]
    assert sorted(transaction.committed, key=str) == [0, 1, 2]
    assert (transaction.commits, transaction.rollbacks) == (2, 0)


def test_a_failing_commit_fails_all_who_share_it(transaction: Counting) -> None:
    """If the commit fails nothing stays, and every caller of it learns so."""
    group = GroupCommit(transaction)
    transaction.failure = StoreUnavailable("disk full")
    with pytest.raises(StoreUnavailable, match="disk full"):
        group(adding("a"))
    assert (transaction.committed, transaction.rollbacks) == ([], 1)
    assert group(adding("b")) == "b"
    assert transaction.committed == ["b"]


def test_a_failing_shared_commit(transaction: Counting) -> None:
    """All followers of a failing commit get the error, the leader before it has its value."""
    released: list[bool] = []

    def first(pending: list[object]) -> object:
        pending.append("first")
        return "first"

    def last(pending: list[object]) -> object:
        pending.append("last")
        transaction.failure = StoreUnavailable("disk full")
        released.append(True)
        return "last"

    futures = held_up(transaction, [first, adding(1), last])
    assert futures[0].result() == "first"
    for future in futures[1:]:
        with pytest.raises(StoreUnavailable, match="disk full"):
            future.result()
    assert transaction.committed == ["first"]


def test_a_store_that_is_lost_fails_all(transaction: Counting) -> None:
    """A job that finds the whole transaction lost takes its batch with it."""

    def lose(_: list[object]) -> None:
        raise StoreUnavailable("the database is gone")

    futures = held_up(transaction, [adding(0), adding(1), lose, adding(2)])
    assert futures[0].result() == 0
    for future in futures[1:]:
        with pytest.raises(StoreUnavailable, match="gone"):
            future.result()
    assert transaction.committed == [0]
    assert transaction.rollbacks == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_leader_fails_everybody(
    transaction: Counting, interruption: type[BaseException]
) -> None:
    """If the leader is interrupted nobody's work counts: it gets out, the others are told."""
    group = GroupCommit(transaction)
    followers: list[Future[object]] = []
    with ThreadPoolExecutor(3) as pool:

        def interrupted(_: list[object]) -> None:
            raise interruption

        with group._leading:
            followers += [pool.submit(group, adding(number)) for number in range(3)]
            deadline = time.monotonic() + 30
            while len(group._waiting) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            followers.append(Future())
            with pytest.raises(interruption):
                lead_with(group, interrupted)
        for future in followers[:3]:
            with pytest.raises(StoreUnavailable, match="interrupted"):
                future.result(timeout=30)
    assert transaction.committed == []
    assert group(adding("after")) == "after"


def test_an_interrupt_at_the_end_leaves_the_outcome_open(transaction: Counting) -> None:
    """Who waits for a commit whose leader is interrupted in it is not told that it was undone."""
    group = GroupCommit(transaction)
    transaction.failure = KeyboardInterrupt()
    with ThreadPoolExecutor(1) as pool:
        with group._leading:
            follower = pool.submit(group, adding("follower"))
            deadline = time.monotonic() + 30
            while not group._waiting:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            with pytest.raises(KeyboardInterrupt):
                group._lead()
        with pytest.raises(OutcomeUnknown, match="may have been made"):
            follower.result(timeout=30)


def test_an_open_outcome_stays_one(transaction: Counting) -> None:
    """Where the store cannot tell whether a commit counts, no caller is told that it does not."""
    transaction.failure = OutcomeUnknown("the connection was lost")
    with pytest.raises(OutcomeUnknown, match="was lost"):
        GroupCommit(transaction)(adding("work"))


def lead_with(group: GroupCommit[list[object]], work: Callable[[list[object]], None]) -> None:
    """Lead one batch that has a job of ours at its end; the caller holds the lead."""
    from qpher_backends.group_commit import _Job  # noqa: PLC0415 - a job without its own thread

    group._waiting.append(_Job(work))
    group._lead()


def test_values_belong_to_their_callers(transaction: Counting) -> None:
    """Under eight threads each caller gets what its own work returned, in fewer commits."""
    group = GroupCommit(transaction)

    def slow_commit(number: int) -> object:
        return group(adding(number))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(slow_commit, range(400), timeout=60)) == list(range(400))
    assert sorted(transaction.committed, key=int) == list(range(400))  # type: ignore[call-overload]
    assert transaction.commits <= 400
