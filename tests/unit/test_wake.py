# SPDX-License-Identifier: Apache-2.0
"""Waking one thread that waits."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qpher_core.wake import Wake


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns in the middle of everything."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_a_signal_is_used_up() -> None:
    """Nobody waits longer than is said; a signal, given once or twice, ends one waiting."""
    wake = Wake()
    assert not wake.wait(0)
    wake.signal()
    wake.signal()
    assert wake.wait(0)
    assert not wake.wait(0)


@pytest.mark.usefixtures("restless")
def test_signals_from_several_threads_at_once() -> None:
    """Threads that signal at the same moment do not disturb each other."""
    wake = Wake()

    def signal(_: int) -> None:
        for _ in range(20_000):
            wake.signal()
            wake.wait(0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(signal, range(4)))
