# SPDX-License-Identifier: Apache-2.0
"""What a migration did, and how far it is."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import field, frozen

__all__ = ["Failure", "ItemId", "MigrationProgress", "MigrationReport", "Progress"]

#: What names an item in its source: a row's id, a path, whatever an iterable gives.
ItemId: TypeAlias = int | str


@frozen
class Failure:
    """An item that stays as it is.

    Attributes:
        item: which.
        code: the error's code, such as ``ERR_KEM_005``.
        problem: the error's message.
    """

    item: ItemId
    code: str
    problem: str


@frozen
class MigrationProgress:
    """How far a migration is. Numbers of items, from the beginning of the journal.

    Attributes:
        done: looked at and, where need be, durable under the new key.
        total: how many there are; None where the source cannot tell.
        failed: those of them that stay as they are.
    """

    done: int
    total: int | None
    failed: int


#: Called after each batch, in the thread that migrates.
Progress = Callable[[MigrationProgress], object]


@frozen
class MigrationReport:
    """What a migration did; of a dry run, what it would do.

    Attributes:
        moved: items that are durable under the new key.
        already: items that were under it before.
        changed: items that somebody else replaced or removed meanwhile; theirs counts.
        ignored: what is not encrypted by this library: empty columns, other files.
        failed: items that stay as they are, each with the reason; also files of which a recipient
            stays.
        sources: how many items, or recipients of files, were moved from each (algorithm, version).
        algorithm: the new algorithm.
        key_version: the newest version that items were moved to; None if none was.
        dry_run: whether nothing was written.
        resumed: whether it went on where an earlier run was cut short.
    """

    moved: int
    already: int
    changed: int
    ignored: int
    failed: tuple[Failure, ...] = field(repr=lambda f: f"<{len(f)} failures>")
    sources: Mapping[tuple[str, int], int]
    algorithm: str
    key_version: int | None
    dry_run: bool
    resumed: bool

    @property
    def total(self) -> int:
        """How many items were looked at."""
        return self.moved + self.already + self.changed + self.ignored + len(self.failed)

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be left under another key; else run it again."""
        return not (self.failed or self.changed or self.dry_run)
