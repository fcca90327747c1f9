# SPDX-License-Identifier: Apache-2.0
"""Verifying an export with public keys alone: offline, in parallel, in constant memory."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.diagnosis import Finding, diagnose
from qpher_core.audit.export import (
    END,
    LONGEST_LINE,
    ExportFile,
    ExportHeader,
    bad_export,
    blocks,
    parse_end,
)
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.records import EMPTY_LOG
from qpher_core.audit.scan import Forest, Joint, Run, join, scan
from qpher_core.audit.tree import EMPTY_ROOT
from qpher_core.audit.trust import believed, follow_statements
from qpher_core.audit.vkey import VerifierKey, as_keys
from qpher_core.protocols import Primitives

__all__ = ["ExportReport", "Progress", "verify_export"]

_PIECE_BYTES: Final = 8 << 20  # of an export, for one task of one process

Progress = Callable[[int, int], None]


@frozen
class ExportReport:
    """What verifying an export found.

    Attributes:
        tenant: id of the log's tenant.
        entries: number of entries of the log, as the export states.
        anchored: number of entries that a verified anchor covers.
        anchors: number of anchors that were verified.
        head: hash of the last entry, 32 bytes.
        problem: name of the first thing that is wrong, or None.
        bad_seq: the first bad entry, where it is about an entry.
        detail: one sentence about the problem.
        first: the first entry in the export; those before it were moved out.
        root: root of the Merkle tree over all entries, 32 bytes; meaningful only without a problem.
        newest: the last anchor, verified; to be kept for the next time. None with a problem.
        selected: of an export of chosen entries, how many it has; else None.
        service: name of the service that signed the anchors; empty where none was verified.
    """

    tenant: str
    entries: int
    anchored: int = 0
    anchors: int = 0
    head: bytes = field(default=EMPTY_LOG.head, repr=bytes.hex)
    problem: Problem | None = None
    bad_seq: int | None = None
    detail: str = ""
    first: int = 0
    root: bytes = field(default=EMPTY_ROOT, repr=bytes.hex)
    newest: str | None = field(default=None, repr=False)
    selected: int | None = None
    service: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything is as it was signed."""
        return self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "ok": self.ok,
            "tenant": self.tenant,
            "service": self.service,
            "entries": self.entries,
            "first": self.first,
            "selected": self.selected,
            "anchored": self.anchored,
            "anchors": self.anchors,
            "head": self.head.hex(),
            "problem": self.problem and str(self.problem),
            "bad_seq": self.bad_seq,
            "detail": self.detail,
        }


def verify_export(
    export: str | os.PathLike[str],
    keys: Sequence[VerifierKey | str],
    *,
    last_anchor: str | None = None,
    revoked: Sequence[VerifierKey | str] = (),
    processes: int | None = None,
    progress: Progress | None = None,
    primitives: Primitives | None = None,
) -> ExportReport:
    """Verify an export.

    Args:
        export: the file, compressed or not.
        keys: anchor keys that are trusted, or vkeys; later ones follow from the statements in
            the export.
        last_anchor: an anchor kept from before, which the log must continue.
        revoked: keys that were revoked: an anchor by one of them is a finding.
        processes: how many may work; one for each core where None.
        progress: called with (bytes done, bytes in all).
        primitives: provider of the signature algorithms; the default one where none is given.

    Raises:
        OSError: the file cannot be read.
        ValidationError: the keys are no list.
        AuditIntegrityError: a text among them is no vkey.
    """
    trusted, refused = as_keys(keys, "keys"), as_keys(revoked, "revoked")
    verification = _Verification(ExportFile(Path(export)), trusted, refused, primitives)
    try:
        return verification.run(last_anchor, processes or os.cpu_count() or 1, progress)
    except AuditIntegrityError as error:
        detail = str(error).partition(": ")[2]
        return verification.report(Finding(error.problem, verification.bad_seq, detail))


class _Verification:
    """One verification under way."""

    def __init__(
        self,
        file: ExportFile,
        keys: Sequence[VerifierKey],
        revoked: Sequence[VerifierKey],
        primitives: Primitives | None,
    ) -> None:
        self._file = file
        self._keys = list(keys)
        self._revoked = revoked
        self._primitives = primitives
        self._header = ExportHeader("", 0, (), 0)
        self._head = EMPTY_LOG.head
        self._root = EMPTY_ROOT
        self._newest: str | None = None
        self._service = ""
        self._anchored = self._anchors = 0
        self.bad_seq: int | None = None

    def run(
        self, last_anchor: str | None, processes: int, progress: Progress | None
    ) -> ExportReport:
        self._header, notes = self._file.header()
        self._keys = follow_statements(
            self._keys,
            self._header.statements,
            revoked=self._revoked,
            primitives=self._primitives,
        )
        self._head = self._header.base.head
        checkpoints = list(self._check_anchors(notes))
        last = None if last_anchor is None else self._kept(last_anchor)
        if last is not None and last.size > self._header.size:
            self.bad_seq = self._header.size
            raise AuditIntegrityError(
                Problem.ROLLED_BACK,
                f"the log has {self._header.size} entries, and {last.size} were anchored before",
            )
        if last is not None and 0 < last.size < self._header.base.size:
            raise AuditIntegrityError(
                Problem.MISSING,
                f"the export begins after the {last.size} entries that were anchored before: "
                "verify it together with the segments before it",
            )
        sizes = {c.size for c in checkpoints} | ({last.size} if last else set())
        wanted = sorted(sizes - {0, self._header.base.size})
        states = self._scan(wanted, processes, progress)
        if states is None:
            return self.report(self._diagnose())
        self._compare(checkpoints, states)
        if last is not None and not _agrees(last, states):
            self.bad_seq = None
            raise AuditIntegrityError(
                Problem.FORKED, f"the log has another history than its anchor at {last.size}"
            )
        if self._anchored < self._header.size:
            self.bad_seq = self._anchored
            raise AuditIntegrityError(
                Problem.UNANCHORED, f"no anchor covers the entries from {self._anchored} on"
            )
        if checkpoints:
            self._root = checkpoints[-1].root
        return self.report(None)

    def report(self, finding: Finding | None) -> ExportReport:
        """Return the report, with what is known by now."""
        return ExportReport(
            self._header.tenant,
            self._header.size,
            self._anchored,
            self._anchors,
            self._head,
            problem=finding.problem if finding else None,
            bad_seq=finding.seq if finding else None,
            detail=finding.detail if finding else "",
            first=self._header.base.size,
            root=self._root,
            newest=None if finding else self._newest,
            service=self._service,
        )

    # --- anchors -------------------------------------------------------------------------------

    def _check_anchors(self, notes: Iterator[str]) -> Iterator[Checkpoint]:
        """Verify signatures and order of the anchors; their roots are compared later."""
        size, newest, base = 0, 0, self._header.base.size
        for text in notes:
            checkpoint, used = self._checkpoint(text)
            if size == 0 < base != checkpoint.size:
                raise _no_base(base)
            if checkpoint.size <= size or checkpoint.size > self._header.size:
                raise AuditIntegrityError(
                    Problem.INCONSISTENT_ANCHORS,
                    f"an anchor of {checkpoint.size} entries follows one of {size}"
                    if checkpoint.size <= size
                    else f"an anchor covers {checkpoint.size} entries, the export has fewer",
                )
            if used < newest:
                raise AuditIntegrityError(
                    Problem.REVOKED_KEY,
                    f"the anchor at {checkpoint.size} is signed by a key replaced before",
                )
            size, newest, self._newest = checkpoint.size, used, text
            yield checkpoint
        if size == 0 < base:
            raise _no_base(base)

    def _checkpoint(self, text: str) -> tuple[Checkpoint, int]:
        """Return what an anchor states, and which key, in the order of rotation, signed it."""
        checkpoint, signers = believed(
            Note.parse(text), self._keys, revoked=self._revoked, primitives=self._primitives
        )
        if str(checkpoint.tenant_id) != self._header.tenant:
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "an anchor belongs to another log")
        if self._service not in {"", checkpoint.service}:
            raise AuditIntegrityError(
                Problem.BAD_ANCHOR,
                f"an anchor of {checkpoint.service!r} is among those of {self._service!r}",
            )
        self._service = checkpoint.service
        return checkpoint, min(map(self._keys.index, signers))

    def _kept(self, last_anchor: str) -> Checkpoint:
        """Return what an anchor that was kept states; the export is not to blame for it."""
        try:
            return self._checkpoint(last_anchor)[0]
        except AuditIntegrityError as error:
            detail = str(error).partition(": ")[2]
            raise AuditIntegrityError(
                error.problem, f"the anchor kept from before: {detail}"
            ) from error

    def _compare(
        self, checkpoints: Sequence[Checkpoint], states: dict[int, tuple[Joint, bytes]]
    ) -> None:
        for checkpoint in checkpoints:
            if not _agrees(checkpoint, states):
                self.bad_seq = self._anchored
                if checkpoint.size == self._header.base.size:
                    raise _no_base(checkpoint.size)
                raise AuditIntegrityError(
                    Problem.REWRITTEN,
                    f"the entries from {self._anchored} to {checkpoint.size - 1} are not those "
                    "that were anchored",
                )
            self._anchored, self._anchors = checkpoint.size, self._anchors + 1

    # --- entries -------------------------------------------------------------------------------

    def _scan(
        self, sizes: Sequence[int], processes: int, progress: Progress | None
    ) -> dict[int, tuple[Joint, bytes]] | None:
        """Return the states at the sizes, or None if the entries are not sound."""
        base, done = self._header.base, 0
        start, forest = base.size, Forest((*place, h) for place, h in base.kept.items())
        states = {base.size: (Joint(base.size, base.head, ()), base.root)}
        for run, length in self._runs(sizes, processes):
            joints = join(start, self._head, forest, run)
            if joints is None:
                return None
            states.update({joint.size: (joint, root) for joint, root in joints})
            if run.first is not None:
                start, self._head = run.end, run.head
            done += length
            if progress is not None:
                progress(done, self._file.bytes - self._header.offset)
        size, head = self._end()
        sound = (start, self._head) == (size, head) and size == self._header.size
        return states if sound else None

    def _runs(self, sizes: Sequence[int], processes: int) -> Iterator[tuple[Run, int]]:
        """Yield the runs of the export in order, each with its length in bytes."""
        offset, end = self._header.offset, self._file.bytes
        pieces = [(p, min(p + _PIECE_BYTES, end)) for p in range(offset, end, _PIECE_BYTES)]
        work = partial(_scan_piece, self._file, self._header.tenant, tuple(sizes), offset)
        if self._file.compressed:
            yield work((offset, sys.maxsize)), end - offset
            return
        with _mapping(min(processes, len(pieces))) as each:
            for piece, run in zip(pieces, each(work, pieces), strict=True):
                yield run, piece[1] - piece[0]

    def _end(self) -> tuple[int, bytes]:
        """Return what the last line states."""
        return parse_end(self._file.last_line(self._header.offset))

    def _diagnose(self) -> Finding:
        try:
            size, head = self._end()
        except AuditIntegrityError:
            size, head = self._header.size, b""

        def lines() -> Iterator[bytes]:
            entries = self._file.entries(self._header.offset)
            return takewhile(lambda line: not line.startswith(END), entries)

        header = self._header
        found = diagnose(lines, header.tenant, header.size, head, header.base)
        if found is not None:
            return found
        if size != self._header.size:
            raise bad_export("beginning and end of the export state different sizes")
        after = dropwhile(lambda line: not line.startswith(END), self._file.entries(header.offset))
        if next(islice(after, 1, None), None) is not None:
            raise bad_export("something follows the end of the export")
        raise bad_export("the entries are not followed by the end of the export")


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Iterator[Run]]]:
    """Give what maps in several processes, or in this one."""
    if processes < 2:
        yield map
        return
    pool = ProcessPoolExecutor(processes)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)  # nothing more is read once something is wrong


def _scan_piece(
    export: ExportFile, tenant: str, sizes: tuple[int, ...], first: int, piece: tuple[int, int]
) -> Run:
    """Scan the lines that begin within a piece of an export."""
    start, end = piece
    with export.open() as file:
        file.seek(start)
        if start > first:
            file.seek(start - 1)
            file.readline(LONGEST_LINE)  # what began before belongs to the piece before
        return scan(blocks(file, end - file.tell()), tenant, sizes)


def _no_base(size: int) -> AuditIntegrityError:
    return AuditIntegrityError(
        Problem.BAD_BASE, f"no anchor covers just the {size} entries that the export leaves out"
    )


def _agrees(checkpoint: Checkpoint, states: dict[int, tuple[Joint, bytes]]) -> bool:
    """Return whether root and head of a checkpoint are those of the entries."""
    if checkpoint.size == 0:
        return True
    joint, root = states[checkpoint.size]
    return checkpoint.root == root and checkpoint.head in {None, joint.head}
