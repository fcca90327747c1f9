# SPDX-License-Identifier: Apache-2.0
"""A thread that is interrupted in the middle of a commit that it shares with others."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qpher_backends.group_commit import GroupCommit
from qpher_core import StoreUnavailable
from qpher_core.discovery import open_store
from tests.contract.table import BACKENDS, backends

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("backend", backends(durable=True))
def test_others_work_on_after_interrupts(tmp_path: Path, backend: str) -> None:
    """Ctrl-C at hundreds of random moments neither stops other threads nor breaks the log."""
    url = BACKENDS[backend].url(tmp_path)
    command = [sys.executable, "-m", "tests.failure.interrupted", url, "3"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    interrupts, *rest = done.stdout.split()
    assert int(interrupts) > 20
    assert rest == ["True", "True", "1"]


@pytest.mark.parametrize("url", ["sqlite:///{}/store.db", "file://{}/store"])
def test_closing_waits_for_the_commit_under_way(tmp_path: Path, url: str) -> None:
    """Closing lets the commit under way end, and refuses those that wait behind it."""
    store = open_store(url.format(tmp_path), parameter="url")
    started, go = threading.Event(), threading.Event()

    def slow(_: object) -> str:
        started.set()
        go.wait(10)
        return "done"

    with ThreadPoolExecutor() as threads:
        first = threads.submit(store.commit, slow)
        started.wait(10)
        second = threads.submit(store.commit, lambda _: "too late")
        time.sleep(0.05)
        closing = threads.submit(store.close)
        time.sleep(0.05)
        assert not closing.done()
        go.set()
        assert first.result(10) == "done"
        closing.result(10)
        if second.exception(10) is not None:
            assert isinstance(second.exception(), StoreUnavailable)


class _Transaction:
    """A transaction in memory whose parts can be interrupted."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.written: list[str] = []
        self.interrupt = ""

    def _maybe(self, where: str) -> None:
        if self.interrupt == where:
            self.interrupt = ""
            raise KeyboardInterrupt

    def begin(self) -> list[str]:
        """Begin."""
        self._maybe("begin")
        self.written = []
        return self.written

    def attempt(self, work: object) -> None:
        """Run work."""
        self._maybe("attempt")
        work()

    def commit(self) -> None:
        """Commit."""
        self._maybe("commit")
        self.committed += self.written

    def rollback(self) -> None:
        """Undo."""
        self.written = []


@pytest.mark.parametrize("where", ["begin", "attempt", "commit"])
def test_an_interrupted_commit_counts_for_nothing(where: str) -> None:
    """The interrupt comes out, nothing was committed, and the next commit works."""
    transaction = _Transaction()
    group = GroupCommit(transaction)
    transaction.interrupt = where
    with pytest.raises(KeyboardInterrupt):
        group(lambda writer: writer.append("first"))
    assert transaction.committed == []
    group(lambda writer: writer.append("second"))
    assert transaction.committed == ["second"]


def test_an_interrupt_at_its_very_end_leaves_no_commit_in_memory_open() -> None:
    """The store in memory takes the next commit, wherever the one before was interrupted."""
    store = open_store("memory:", parameter="url")

    class Interrupted(list):
        """What is to be undone; forgetting it is interrupted."""

        def clear(self) -> None:
            """Forget it."""
            super().clear()
            raise KeyboardInterrupt

    store._state.undo = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        store.commit(lambda _: None)
    store._state.undo = []
    assert store.commit(lambda _: "done") == "done"


def test_work_that_was_lost_with_its_leader_is_not_waited_for() -> None:
    """Work that a leader took and never finished is refused, not waited for until the end."""
    transaction = _Transaction()
    group = GroupCommit(transaction)

    class Losing(list):
        """Takes work and forgets it, as a leader interrupted right after taking it does."""

        def append(self, _: object) -> None:
            """Lose it."""

    group._waiting = Losing()
    with pytest.raises(StoreUnavailable, match="interrupted"):
        group(lambda writer: writer.append("lost"))
    assert transaction.committed == []
