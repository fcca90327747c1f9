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

from attrs import define, evolve, field, frozen

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


@define
class _Part(Value):
    """What is encrypted to one key: a message, the key of a field's value, a recipient of a file.

    Attributes:
        rest: what follows the wrapped key in a field's value, which stays.
        result: the new ciphertext, or why there is none; None until it was tried.
    """

    rest: bytes = field(default=b"", kw_only=True, repr=False)
    result: bytes | QpherError | None = field(default=None, kw_only=True, repr=False)


@frozen
class _Found:
    """An item that is to be moved.

    Attributes:
        parts: what is to be moved of it.
        there: whether a recipient of it, a file, is the target already.
    """

    item: Item
    parts: Sequence[_Part]
    there: bool

    @property
    def failure(self) -> QpherError | None:
        """Why not all parts were moved; a recipient that does not open may be somebody else's."""
        errors = [part.result for part in self.parts if isinstance(part.result, QpherError)]
        told = [error for error in errors if not isinstance(error, DecryptionFailed)]
        if not told and not self.there and len(errors) == len(self.parts):
            told = errors
        return told[0] if told else None

    @property
    def replaced(self) -> bytes | None:
        """The new value, of a file its new header; None if nothing of it was moved."""
        value = self.item.value or b""
        if not value.startswith(MAGIC):
            (part,) = self.parts
            return part.result + part.rest if isinstance(part.result, bytes) else None
        new = {part.data: part.result for part in self.parts if isinstance(part.result, bytes)}
        header = read_header(value)
        recipients = [new.get(old, old) for old in header.recipients]
        return header.with_recipients(recipients).encode() if new else None


@frozen
class _Batch:
    """One batch, moved and not yet written."""

    position: ItemId
    tally: Tally
    found: Sequence[_Found]


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
        self, items: Sequence[Item], function: Callable[[Sequence[_Part]], Moved]
    ) -> _Batch:
        tally = Tally()
        all_found = self._find(items, tally)
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

    def _move_group(self, group: Sequence[_Part]) -> Moved:
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

    def _look_at_group(self, group: Sequence[_Part]) -> Moved:
        header, name = group[0].header, self.reencryptor.target.name
        key = self.keys.get(header.algorithm, header.version, name=name)
        lax = self.reencryptor.accept_compromised and key.state is KeyState.COMPROMISED
        if key.state not in PROCESS and not lax:
            raise StateConflict(f"{key.ref} is {key.state}")
        return Moved([b""] * len(group), None)

    def _find(self, items: Sequence[Item], tally: Tally) -> list[_Found]:
        """Sort out what is to be moved; count the rest."""
        target = self._target()
        contexts: dict[frozenset[tuple[str, str]], dict[str, str]] = {}
        all_found = []
        for item in items:
            value = item.value or b""
            encrypted = _encrypted(value)
            wanted = self._wanted(encrypted, target)
            if not encrypted and value.startswith(MAGIC) and not _ciphertexts(value):
                tally.failed.append(_failure(item, DecryptionFailed()))  # a damaged header
            elif not encrypted:
                tally.ignored += 1
            elif not wanted:
                tally.already += 1
            else:
                try:
                    parts = [self._part(item, *part, contexts) for part in wanted]
                except QpherError as error:
                    tally.failed.append(_failure(item, error))
                    continue
                there = len(encrypted) > 1 and target in [_address(h) for h, _ in encrypted]
                all_found.append(_Found(item, parts, there))
        return all_found

    def _part(
        self,
        item: Item,
        header: messages.Header,
        ciphertext: bytes,
        contexts: dict[frozenset[tuple[str, str]], dict[str, str]],
    ) -> _Part:
        """Return a part with its context; equal contexts of a batch are one object."""
        bound = self.context
        if not isinstance(bound, dict):
            given = check_context(bound(item.id))
            bound = contexts.setdefault(frozenset(given.items()), given)
        if header.kind is not messages.Kind.FIELD_KEY:
            return _Part(header, bound, ciphertext)
        parts = field_values.FieldValue.from_bytes(item.value or b"")
        if parts.deterministic and self.reencryptor.salt is None:
            raise ValidationError("a deterministic value needs the field's salt", parameter="salt")
        rest = parts.salt + parts.sealed
        return _Part(header, bound, parts.wrapped_key, parts.deterministic, rest=rest)

    def _target(self) -> tuple[str, int]:
        """Return the key version that items are to be under, now."""
        target = self.reencryptor.target
        if target.version is not None:
            return target.algorithm.name, target.version
        return target.algorithm.name, self.keys.active(
            target.algorithm.name, name=target.name
        ).version

    def _wanted(self, found: Sequence[_Encrypted], target: tuple[str, int]) -> list[_Encrypted]:
        """Return what is not under the target; of a file, all recipients that may be ours.

        If none is, that is told of one.
        """
        others = [one for one in found if _address(one[0]) != target]
        if len(found) <= 1:  # nearly all that is moved
            return others
        ours = [one for one in others if self._has(one[0])]
        return ours or others[: len(others) == len(found)]

    def _has(self, header: messages.Header) -> bool:
        """Return whether the key of a recipient may be one of ours, that is not destroyed."""
        with contextlib.suppress(NotFound):
            name = self.reencryptor.target.name
            key = self.keys.get(header.algorithm, header.version, name=name)
            return key.state is not KeyState.DESTROYED
        return False


def _groups(all_found: Sequence[_Found]) -> list[list[_Part]]:
    """Return all parts, by key version."""
    groups: defaultdict[tuple[str, int], list[_Part]] = defaultdict(list)
    for found in all_found:
        for part in found.parts:
            groups[_address(part.header)].append(part)
    return list(groups.values())


def _count(tally: Tally, found: _Found) -> None:
    """Count an item that is durable as it is now."""
    moved = [part for part in found.parts if isinstance(part.result, bytes)]
    for part in moved:
        tally.sources[_address(part.header)] += 1
    failure = found.failure if len(moved) < len(found.parts) else None
    if failure is not None:
        tally.failed.append(_failure(found.item, failure))
    elif moved:
        tally.moved += 1
    else:
        tally.already += 1


def _address(header: messages.Header) -> tuple[str, int]:
    return header.algorithm, header.version


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
