# SPDX-License-Identifier: Apache-2.0
"""The loop of a migration: read a batch, move it, make it durable, note it in the journal.

While one batch is written, the next ones are moved by other threads.
"""

import contextlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from attrs import evolve, field, frozen

from qpher_core import field_values, messages
from qpher_core.errors import (
    AlgorithmUnavailable,
    AuthenticationError,
    DecryptionFailed,
    NotFound,
    PermissionDenied,
    QpherError,
    RateLimited,
    StateConflict,
    Unavailable,
    ValidationError,
)
from qpher_core.file_header import MAGIC, read_header
from qpher_core.lifecycle import PROCESS, KeyState
from qpher_core.migration.journal import Journal, Tally
from qpher_core.migration.reencrypt import Moved, Reencryptor, Value
from qpher_core.migration.report import (
    Failure,
    ItemId,
    MigrationProgress,
    MigrationReport,
    Progress,
)
from qpher_core.migration.sources import Change, Item, Source
from qpher_core.session_keys import Keys
from qpher_core.validation import check_context

__all__ = ["ContextOf", "Engine"]

#: The context of an item, by its id.
ContextOf = Callable[[ItemId], Mapping[str, str] | None]

#: Errors that are not about single items: whoever gets one goes on later.
_STOPS: Final = (AuthenticationError, PermissionDenied, RateLimited, Unavailable)


#: A ciphertext with its header.
_Encrypted = tuple[messages.Header, bytes]


@frozen
class _Found(Value):
    """An item that is to be moved, and what is moved of it.

    That is a message, the wrapped key of a field's value, or the recipient of a file that is ours.

    Attributes:
        rest: what follows the wrapped key in a field's value, which stays.
    """

    item: Item = field(kw_only=True)
    rest: bytes = field(default=b"", kw_only=True, repr=False)

    def replaced(self, ciphertext: bytes) -> bytes:
        """Return the value with this ciphertext instead; of a file, its new header."""
        value = self.item.value or b""
        if self.rest:
            return ciphertext + self.rest
        if not value.startswith(MAGIC):
            return ciphertext
        header = read_header(value)
        recipients = [ciphertext if c == self.data else c for c in header.recipients]
        return header.with_recipients(recipients).encode()


@frozen
class _Batch:
    """One batch, moved and not yet written."""

    position: ItemId
    tally: Tally
    found: Sequence[_Found]
    changes: Sequence[Change]


@frozen(kw_only=True)
class Engine:
    """Migrates one source.

    Attributes:
        context: the context of each item, or one for all.
        rate: items in a second at most; None without a limit.
    """

    keys: Keys
    reencryptor: Reencryptor
    source: Source
    context: ContextOf | dict[str, str] = field(repr=False)
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

    def _write(self, moved: _Batch) -> None:
        """Make a batch durable, and count it."""
        gone: set[ItemId] = set()
        if moved.changes and not self.dry_run:
            gone.update(self.source.write(moved.changes))
        for found in moved.found:
            if found.item.id in gone:
                moved.tally.changed += 1
            else:
                moved.tally.moved += 1
                moved.tally.sources[found.header.algorithm, found.header.version] += 1

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
        self, items: Sequence[Item], function: Callable[[Sequence[_Found]], Moved]
    ) -> _Batch:
        tally = Tally()
        done: list[_Found] = []
        changes: list[Change] = []
        for group in self._groups(items, tally):
            try:
                moved = function(group)
            except QpherError as error:
                if isinstance(error, _STOPS) and not isinstance(error, AlgorithmUnavailable):
                    raise
                tally.failed += [_failure(found.item, error) for found in group]
                continue
            tally.version = max(filter(None, (tally.version, moved.version)), default=None)
            for found, value in zip(group, moved.values, strict=True):
                if isinstance(value, DecryptionFailed):
                    tally.failed.append(_failure(found.item, value))
                else:
                    done.append(found)
                    changes.append(Change(found.item, found.replaced(value)))
        return _Batch(items[-1].position, tally, done, changes)

    def _move_group(self, group: Sequence[_Found]) -> Moved:
        """Move a group; what several values of a field share is moved once."""
        shared = [
            (found.data, id(found.context)) if found.rest else number
            for number, found in enumerate(group)
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

    def _look_at_group(self, group: Sequence[_Found]) -> Moved:
        header, name = group[0].header, self.reencryptor.target.name
        key = self.keys.get(header.algorithm, header.version, name=name)
        lax = self.reencryptor.accept_compromised and key.state is KeyState.COMPROMISED
        if key.state not in PROCESS and not lax:
            raise StateConflict(f"{key.ref} is {key.state}")
        return Moved([b""] * len(group), None)

    def _groups(self, items: Sequence[Item], tally: Tally) -> list[list[_Found]]:
        """Sort out what is to be moved, by key version."""
        target = self._target()
        groups: defaultdict[tuple[str, int], list[_Found]] = defaultdict(list)
        contexts: dict[frozenset[tuple[str, str]], dict[str, str]] = {}
        for item in items:
            value = item.value or b""
            found = _encrypted(value)
            if not found and value.startswith(MAGIC) and not _ciphertexts(value):
                tally.failed.append(_failure(item, DecryptionFailed()))  # a damaged header
            elif not found:
                tally.ignored += 1
            elif target in [(header.algorithm, header.version) for header, _ in found]:
                tally.already += 1
            else:
                header, ciphertext = found[0] if len(found) == 1 else self._ours(found)
                try:
                    one = self._found(item, header, ciphertext, contexts)
                except QpherError as error:
                    tally.failed.append(_failure(item, error))
                    continue
                groups[header.algorithm, header.version].append(one)
        return list(groups.values())

    def _found(
        self,
        item: Item,
        header: messages.Header,
        ciphertext: bytes,
        contexts: dict[frozenset[tuple[str, str]], dict[str, str]],
    ) -> _Found:
        """Return an item with its context; equal contexts of a batch are one object."""
        bound = self.context
        if not isinstance(bound, dict):
            given = check_context(bound(item.id))
            bound = contexts.setdefault(frozenset(given.items()), given)
        if header.kind is not messages.Kind.FIELD_KEY:
            return _Found(header, bound, ciphertext, item=item)
        parts = field_values.FieldValue.from_bytes(item.value or b"")
        if parts.deterministic and self.reencryptor.salt is None:
            raise ValidationError("a deterministic value needs the field's salt", parameter="salt")
        rest = parts.salt + parts.sealed
        return _Found(header, bound, parts.wrapped_key, parts.deterministic, item=item, rest=rest)

    def _target(self) -> tuple[str, int]:
        """Return the key version that items are to be under, now."""
        target = self.reencryptor.target
        if target.version is not None:
            return target.algorithm.name, target.version
        return target.algorithm.name, self.keys.active(
            target.algorithm.name, name=target.name
        ).version

    def _ours(self, found: Sequence[_Encrypted]) -> _Encrypted:
        """Return the recipient of a file that is this tenant's, as far as its keys tell."""
        for header, ciphertext in found:
            with contextlib.suppress(NotFound):
                self.keys.get(header.algorithm, header.version, name=self.reencryptor.target.name)
                return header, ciphertext
        return found[0]


def _ciphertexts(value: bytes) -> Sequence[bytes]:
    """Return what is encrypted to keys in a value: itself, or each recipient of a file."""
    return read_header(value).recipients if value.startswith(MAGIC) else [value]


def _encrypted(value: bytes) -> list[_Encrypted]:
    """Return the same with their headers, as far as they are ours and can be moved."""
    return [
        (header, ciphertext)
        for ciphertext in _ciphertexts(value)
        if (header := messages.read_header(ciphertext)) is not None
        and header.kind is not messages.Kind.IMPORTED_KEY
    ]


def _failure(item: Item, error: QpherError) -> Failure:
    return Failure(item.id, error.code, str(error))
