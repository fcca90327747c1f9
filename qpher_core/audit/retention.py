# SPDX-License-Identifier: Apache-2.0
"""Moving the beginning of a log out of its store, into a file that verifies by itself.

Only what an anchor covers is moved, and only once the file is on disk and was verified. The log
goes on from that anchor: its store keeps the state at this place (``LogBase``), which proofs about
all that follows need. Entry and removal are one commit, so a crash leaves the log whole, and a
file that the next attempt replaces.
"""

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from qpher_core.audit.anchor_keys import Administrator
from qpher_core.audit.anchors import Anchorer
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.export import lines_between, write_export
from qpher_core.audit.log import moved_document
from qpher_core.audit.moving import check_kept
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.records import EMPTY_LOG, LogBase, LogState, StoredAnchor
from qpher_core.audit.tree import subtrees
from qpher_core.audit.verifier import verify_export
from qpher_core.calls import Effect
from qpher_core.errors import IntegrityError, NotFound, Unavailable, ValidationError
from qpher_core.file_io import sync_folder
from qpher_core.key_usage import LogUsage
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import Store, StoreWriter
from qpher_core.validation import check_moment

__all__ = ["Retention", "Segment"]

_OPERATION: Final = OPERATIONS["audit.move_out"]


@frozen
class Segment:
    """Entries that were moved out of a store.

    Attributes:
        path: the file that holds them now.
        first: place of the first of them.
        end: place after the last; the log goes on from here.
        sha256: digest of the file, 32 bytes, as the log records it.
    """

    path: Path
    first: int
    end: int
    sha256: bytes = field(repr=bytes.hex)


class Retention:
    """Moves entries out of a store. Thread-safe; of two at once, one is refused."""

    def __init__(
        self, store: Store, anchorer: Anchorer, pipeline: Administrator, usage: LogUsage
    ) -> None:
        self._store = store
        self._anchorer = anchorer
        self._pipeline = pipeline
        self._usage = usage

    def move_out(
        self, tenant_id: uuid.UUID, folder: Path, until: int | datetime | None, actor: str
    ) -> Segment:
        """Move the first entries of a log to a file; see ``kms.audit.move_out``."""
        _check_until(until)
        base = self._store.audit.base(tenant_id) or EMPTY_LOG
        try:
            return self._move(tenant_id, base, folder, until, actor)
        except IntegrityError:  # another process may have moved out what was read
            check_kept(self._store.audit, tenant_id, base.size)
            raise

    def _move(
        self,
        tenant_id: uuid.UUID,
        base: LogBase,
        folder: Path,
        until: int | datetime | None,
        actor: str,
    ) -> Segment:
        anchor = self._choose(tenant_id, base, until)
        state = self._state(tenant_id, anchor)
        begin = f"{tenant_id}-{base.size:012d}-"
        # A file that begins here is of an attempt that did not end: the store holds its entries.
        path = folder / f"{begin}{state.size:012d}.jsonl.gz"
        _write(lines_between(self._store, tenant_id, base, anchor), path, self._verify)
        segment = Segment(path, base.size, state.size, _digest(path))
        uses = self._usage.summary(tenant_id, state.size, base)
        new = LogBase(state.size, state.head, state.peaks, uses, segment.sha256)

        def change(writer: StoreWriter) -> Effect[Segment]:
            writer.audit.move_out(new, tenant_id, after=base.size)
            return Effect(segment, moved_document(new))

        moved = self._pipeline.administer(_OPERATION, tenant_id, actor, change)
        for left in {*folder.glob(f"{begin}*.gz"), *folder.glob(f".{begin}*.partial")} - {path}:
            with contextlib.suppress(OSError):  # what was moved was moved
                left.unlink()
        return moved

    def _verify(self, file: Path) -> None:
        report = verify_export(file, self._anchorer.keys.all(), processes=1)
        if report.problem is not None:
            raise AuditIntegrityError(report.problem, f"{report.detail}; nothing was moved out")

    def _choose(
        self, tenant_id: uuid.UUID, base: LogBase, until: int | datetime | None
    ) -> StoredAnchor:
        """Return the last anchor that is not after ``until``; the last of all is published."""
        latest = self._anchorer.anchor(tenant_id)
        if not self._anchorer.published(latest):
            raise Unavailable("nothing was moved out: an anchor is not published everywhere")
        found = None
        for anchor in self._store.anchors.read(tenant_id, start=base.size + 1):
            if not _within(anchor, until):
                break
            found = anchor
        if found is None:
            raise NotFound("no anchor covers entries that are to be moved out", parameter="until")
        return found

    def _state(self, tenant_id: uuid.UUID, anchor: StoredAnchor) -> LogState:
        """Return the state of the log at an anchor, as the anchor has it."""
        checkpoint = Checkpoint.parse(Note.parse(anchor.note).text)
        tiles = list(subtrees(0, checkpoint.size))
        peaks = b"".join(self._store.audit.subtrees(tenant_id, tiles))
        state = LogState(checkpoint.size, checkpoint.head or b"", peaks)
        if state.root != checkpoint.root:
            raise AuditIntegrityError(Problem.REWRITTEN, "the stored tree is not the one anchored")
        return state


def _check_until(until: object) -> None:
    """Raise ``ValidationError`` before anything is anchored."""
    if isinstance(until, datetime):
        check_moment(until, "until")
    elif until is not None and (isinstance(until, bool) or not isinstance(until, int) or until < 1):
        raise ValidationError("until must be a time or a number of entries", parameter="until")


def _within(anchor: StoredAnchor, until: int | datetime | None) -> bool:
    if isinstance(until, datetime):
        return anchor.time < until
    return until is None or anchor.size <= until


def _write(lines: Iterator[bytes], path: Path, verify: Callable[[Path], None]) -> None:
    """Write a file that is whole, on disk and verified when it has its name."""
    _make(path.parent)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        write_export(lines, partial, compressed=True)
        verify(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _make(folder: Path) -> None:
    """Make a folder that is on disk, with those that it is in: what it gets has no copy."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
