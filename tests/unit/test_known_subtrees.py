# SPDX-License-Identifier: Apache-2.0
"""Hashes that proofs leave in memory: which are kept, how many, and what becomes of wrong ones."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from qpher_core.audit.known_subtrees import KnownSubtrees
from qpher_core.audit.tree import Subtree, leaf_hash

TENANT, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
LARGE = [
    (level, index) for level in (8, 9, 12, 15, 16, 23, 24, 40) for index in (0, 1, 2, 255, 256)
]


class Stored:
    """A store: the hash of each subtree follows from the name of the log that it holds."""

    def __init__(self, log: bytes) -> None:
        self.log = log
        self.wanted: list[Subtree] = []

    def hashes(self, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return the hashes of the log."""
        return [leaf_hash(self.log + repr(subtree).encode()) for subtree in wanted]

    def read(self, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return stored hashes, and remember of what."""
        self.wanted += wanted
        return self.hashes(wanted)

    def ask(
        self, known: KnownSubtrees, wanted: Sequence[Subtree], tenant_id: uuid.UUID = TENANT
    ) -> list[Subtree]:
        """Ask for hashes, which must be right; return those that were read."""
        self.wanted.clear()
        right = self.hashes(wanted)
        assert known.hashes(tenant_id, wanted, self.read, lambda found: found == right) == right
        return self.wanted


def test_every_large_subtree_has_its_own_place() -> None:
    """What was right once is given again without a read, whatever else was kept since."""
    known, stored = KnownSubtrees(), Stored(b"one")
    for subtree in LARGE:
        assert stored.ask(known, [subtree]) == [subtree]
    assert stored.ask(known, LARGE) == []
    assert stored.ask(known, LARGE[:3], OTHER) == LARGE[:3]


def test_small_subtrees_are_read_each_time() -> None:
    """They are many; those that are known are not read with them."""
    known, stored = KnownSubtrees(), Stored(b"one")
    wanted = [(0, 3), (8, 1), (7, 2), (9, 0)]
    assert stored.ask(known, wanted) == wanted
    assert stored.ask(known, wanted) == [(0, 3), (7, 2)]


def test_no_more_is_kept_than_was_said() -> None:
    """What was used longest ago goes first."""
    known, stored = KnownSubtrees(tiles=2), Stored(b"one")
    near, far, farther = [(8, 0)], [(8, 1000)], [(8, 2000)]
    for wanted in (near, far, near, farther):
        stored.ask(known, wanted)
    assert stored.ask(known, near) == []
    assert stored.ask(known, far) == far


def test_what_is_not_right_is_not_kept() -> None:
    """Stored hashes that lead nowhere are refused, and read again the next time."""
    known, stored = KnownSubtrees(), Stored(b"altered")
    assert known.hashes(TENANT, LARGE, stored.read, lambda _: False) is None
    stored.log = b"one"
    assert stored.ask(known, LARGE) == LARGE


def test_hashes_of_another_history_are_forgotten() -> None:
    """Once the log is another, what was kept is found wrong, read anew, and kept from then on."""
    known, stored = KnownSubtrees(), Stored(b"one")
    stored.ask(known, LARGE)
    stored.log = b"restored"
    assert stored.ask(known, LARGE) == LARGE
    stored.ask(known, LARGE)
    assert stored.ask(known, LARGE) == []


def test_threads_share_what_is_kept() -> None:
    """Many threads at once, with less room than they need, all get what is right."""
    known = KnownSubtrees(tiles=2)

    def work(number: int) -> None:
        log, tenant_id = Stored(b"log %d" % (number % 3)), uuid.UUID(int=number % 3)
        for first in range(len(LARGE)):
            log.ask(known, LARGE[first : first + 7], tenant_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
