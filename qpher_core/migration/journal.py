# SPDX-License-Identifier: Apache-2.0
"""How far a migration is, in a file that survives a kill: JSON Lines, a line for each batch.

The first line says what is migrated to what; each other one what one batch gave, and after which
position of the source the next begins. A line is durable only after the new values of its batch
are: after a kill between the two, the batch is looked at again and found done.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from attrs import Factory, define

from qpher_core.errors import StateConflict, ValidationError
from qpher_core.file_io import sync_folder
from qpher_core.migration.report import Failure, ItemId

__all__ = ["Journal", "Tally"]

_FORMAT: Final = "qpher-migration/1"


@define
class Tally:
    """Counts of one batch, or of all until now."""

    moved: int = 0
    already: int = 0
    changed: int = 0
    ignored: int = 0
    failed: list[Failure] = Factory(list)
    sources: Counter[tuple[str, int]] = Factory(Counter)
    version: int | None = None

    @property
    def done(self) -> int:
        """How many items were looked at."""
        return self.moved + self.already + self.changed + self.ignored + len(self.failed)

    def add(self, other: "Tally") -> None:
        """Add another's counts."""
        self.moved += other.moved
        self.already += other.already
        self.changed += other.changed
        self.ignored += other.ignored
        self.failed += other.failed
        self.sources += other.sources
        self.version = max(filter(None, (self.version, other.version)), default=None)

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "moved": self.moved,
            "already": self.already,
            "changed": self.changed,
            "ignored": self.ignored,
            "failed": [[f.item, f.code, f.problem] for f in self.failed],
            "sources": [[*source, number] for source, number in self.sources.items()],
            "version": self.version,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the counts of a line. Raises what a malformed line raises."""
        counts = [int(document[n]) for n in ("moved", "already", "changed", "ignored")]
        failed = [Failure(*failure) for failure in document["failed"]]
        sources = Counter({(str(a), int(v)): int(n) for a, v, n in document["sources"]})
        moved, already, changed, ignored = counts
        return cls(moved, already, changed, ignored, failed, sources, document["version"])


class Journal:
    """The journal of one migration. One process at a time."""

    def __init__(self, path: Path | None, subject: Mapping[str, str | int | None]) -> None:
        """Open a journal, or make one; without a path nothing is kept.

        Args:
            path: where it is.
            subject: what is migrated to what; an unfinished journal of another is refused.

        Raises:
            ValidationError: the file is no journal, or one of another migration.
            OSError: it cannot be read or written.
        """
        self._subject = {"format": _FORMAT, **subject}
        self._handle: int | None = None
        self.tally = Tally()
        self.position: ItemId | None = None
        self.resumed = False
        if path is None:
            return
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._begin(path)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _begin(self, path: Path) -> None:
        if self._handle is None:
            raise TypeError("the journal is closed")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateConflict(f"another process migrates with {path}") from None
        kept = self._read(path)
        os.truncate(self._handle, kept)
        os.lseek(self._handle, 0, os.SEEK_END)
        if kept == 0:
            self._append(self._subject)
            sync_folder(path.parent)

    def record(self, batch: Tally, position: ItemId) -> None:
        """Add a batch whose new values are durable."""
        self.tally.add(batch)
        self.position = position
        self._append({"after": position, **batch.to_document()})

    def finish(self) -> None:
        """Note that the source is at its end: the next run begins anew."""
        self._append({"finished": True})

    def _append(self, document: Mapping[str, Any]) -> None:
        if self._handle is None:
            return
        line = _line(document)
        while line:
            line = line[os.write(self._handle, line) :]
        os.fsync(self._handle)

    def _read(self, path: Path) -> int:
        """Take over an unfinished journal; return how many bytes of the file to keep."""
        data = path.read_bytes()
        *whole, cut = data.split(b"\n")
        if not whole and _line(self._subject).startswith(cut):
            return 0  # new, or killed while it was made
        try:
            lines = [json.loads(line) for line in whole]
            if lines[0]["format"] != _FORMAT:
                raise _refused(path)
            if "finished" in lines[-1]:
                return 0
        except (ValueError, LookupError, TypeError):
            raise _refused(path) from None
        self._take_over(path, lines)
        return len(data) - len(cut)

    def _take_over(self, path: Path, lines: list[dict[str, Any]]) -> None:
        if lines[0] != self._subject:
            raise ValidationError(
                f"{path} is the journal of another migration, which is not finished",
                parameter="journal",
            )
        try:
            for line in lines[1:]:
                self.tally.add(Tally.from_document(line))
                self.position = line["after"]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise _refused(path) from None
        self.resumed = True


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _refused(path: Path) -> ValidationError:
    return ValidationError(f"{path} is not a journal of a migration", parameter="journal")
