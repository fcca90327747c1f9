# SPDX-License-Identifier: Apache-2.0
"""The loop of a migration: read a batch, move it, make it durable, note it in the journal.

While one batch is written, the next ones are moved by other threads.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from attrs import evolve, frozen

from qpher_core.errors import (
    AlgorithmUnavailable,
    AuthenticationError,
    PermissionDenied,
    QpherError,
    RateLimited,
    StateConflict,
    Unavailable,
)
from qpher_core.lifecycle import PROCESS, KeyState
from qpher_core.migration.journal import Journal, Tally
from qpher_core.migration.parts import Finder, Found, Part, address, failure_of
from qpher_core.migration.reencrypt import Moved, Reencryptor
from qpher_core.migration.report import (
    ItemId,
    MigrationProgress,
    MigrationReport,
    Progress,
)
from qpher_core.migration.sources import Change, Item, Source
from qpher_core.session_keys import Keys

__all__ = ["Engine"]

#: Errors that are not about single items: whoever gets one goes on later.
_STOPS: Final = (AuthenticationError, PermissionDenied, RateLimited, Unavailable)


@frozen
class _Batch:
    """One batch, moved and not yet written."""

    position: ItemId
    tally: Tally
    found: Sequence[Found]


@frozen(kw_only=True)
class Engine:
    """Migrates one source.

    Attributes:
        rate: items in a second at most; None without a limit.
    """

    keys: Keys
    finder: Finder
    reencryptor: Reencryptor
    source: Source
    batch: int
    threads: int
    rate: float | None
    dry_run: bool
    progress: Progress

    def run(self, journal: Journal) -> MigrationReport:
        """Migrate what the journal does not have yet."""
        move = self._look if self.dry_run else self._move
        began, before = time.monotonic(), journal.tally.done
        for moved in self._ahead(move, self.source.batches(journal.position, self.batch)):
            self._write(moved)
            journal.record(moved.tally, moved.position)
            tally = journal.tally
            self.progress(MigrationProgress(tally.done, self.source.total, len(tally.failed)))
            if self.rate is not None:
                wait = began + (tally.done - before) / self.rate - time.monotonic()
                time.sleep(max(0.0, wait))
        journal.finish()
        return self._report(journal)

    def _ahead(
        self,
        move: Callable[[Sequence[Item]], _Batch],
        batches: Iterator[Sequence[Item]],
    ) -> Iterator[_Batch]:
        """Yield the batches in order, moved by threads that are at most a few ahead."""
        with ThreadPoolExecutor(self.threads, "qpher-migrate") as pool:
            waiting: deque[Future[_Batch]] = deque()
            try:
                for items in batches:
                    waiting.append(pool.submit(move, items))
                    if len(waiting) > self.threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _write(self, batch: _Batch) -> None:
        """Make a batch durable, and count it."""
        replaced = ((found.item, found.replaced) for found in batch.found)
        changes = [Change(item, value) for item, value in replaced if value is not None]
        gone = set(self.source.write(changes)) if changes and not self.dry_run else set()
        for found in batch.found:
            if found.item.id in gone:
                batch.tally.changed += 1
            else:
                _count(batch.tally, found)

    def _report(self, journal: Journal) -> MigrationReport:
        tally = journal.tally
        return MigrationReport(
            tally.moved,
            tally.already,
            tally.changed,
            tally.ignored,
            tuple(tally.failed),
            dict(tally.sources),
            self.reencryptor.target.algorithm.name,
            tally.version,
            self.dry_run,
            journal.resumed,
        )

    # --- one batch -----------------------------------------------------------------------------

    def _move(self, items: Sequence[Item]) -> _Batch:
        return self._each_group(items, self._move_group)

    def _look(self, items: Sequence[Item]) -> _Batch:
        """Say what would be done, by headers and the states of keys; nothing is decrypted."""
        return self._each_group(items, self._look_at_group)

    def _each_group(
        self, items: Sequence[Item], function: Callable[[Sequence[Part]], Moved]
    ) -> _Batch:
        tally = Tally()
        all_found = self.finder.find(items, tally)
        for group in _groups(all_found):
            results: Sequence[bytes | QpherError]
            try:
                moved = function(group)
            except QpherError as error:
                if isinstance(error, _STOPS) and not isinstance(error, AlgorithmUnavailable):
                    raise
                results = [error] * len(group)
            else:
                tally.version = max(filter(None, (tally.version, moved.version)), default=None)
                results = moved.values
            for part, result in zip(group, results, strict=True):
                part.result = result
        return _Batch(items[-1].position, tally, all_found)

    def _move_group(self, group: Sequence[Part]) -> Moved:
        """Move a group; what several values of a field share is moved once."""
        shared = [
            (part.data, id(part.context)) if part.rest else number
            for number, part in enumerate(group)
        ]
        numbers = Counter(shared)
        if len(numbers) == len(group):
            return self.reencryptor.move(group)
        first = dict(zip(reversed(shared), reversed(group), strict=True))
        moved = self.reencryptor.move(
            [evolve(first[place], number=number) for place, number in numbers.items()]
        )
        values = dict(zip(numbers, moved.values, strict=True))
        return Moved([values[place] for place in shared], moved.version)

    def _look_at_group(self, group: Sequence[Part]) -> Moved:
        header, name = group[0].header, self.reencryptor.target.name
        key = self.keys.get(header.algorithm, header.version, name=name)
        lax = self.reencryptor.accept_compromised and key.state is KeyState.COMPROMISED
        if key.state not in PROCESS and not lax:
            raise StateConflict(f"{key.ref} is {key.state}")
        return Moved([b""] * len(group), None)


def _groups(all_found: Sequence[Found]) -> list[list[Part]]:
    """Return all parts, by key version."""
    groups: defaultdict[tuple[str, int], list[Part]] = defaultdict(list)
    for found in all_found:
        for part in found.parts:
            groups[address(part.header)].append(part)
    return list(groups.values())


def _count(tally: Tally, found: Found) -> None:
    """Count an item that is durable as it is now."""
    moved = [part for part in found.parts if isinstance(part.result, bytes)]
    for part in moved:
        tally.sources[address(part.header)] += 1
    failure = found.failure if len(moved) < len(found.parts) else None
    if failure is not None:
        tally.failed.append(failure_of(found.item, failure))
    elif moved:
        tally.moved += 1
    else:
        tally.already += 1
