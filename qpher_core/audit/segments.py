# SPDX-License-Identifier: Apache-2.0
"""A log in several files: segments that were moved out, and what came after them. Offline."""

import os
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

from attrs import evolve

from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.export import ExportFile, ExportHeader, bad_export
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.proof import LogProof
from qpher_core.audit.selected import is_selection, verify_selection
from qpher_core.audit.tree import (
    HASH_BYTES,
    Subtree,
    grow,
    inclusion_path,
    leaf_hash,
    root_from_inclusion,
    stored_hash,
)
from qpher_core.audit.verifier import ExportReport, Progress, verify_export
from qpher_core.audit.vkey import VerifierKey, as_keys
from qpher_core.errors import NotFound, ValidationError
from qpher_core.protocols import Primitives

__all__ = ["prove_from_export", "verify_exports"]


def verify_exports(
    exports: Sequence[str | os.PathLike[str]],
    keys: Sequence[VerifierKey | str],
    *,
    last_anchor: str | None = None,
    revoked: Sequence[VerifierKey | str] = (),
    processes: int | None = None,
    progress: Progress | None = None,
    primitives: Primitives | None = None,
) -> ExportReport:
    """Verify segments of one log, in any order, and the export of what came after them.

    Each must be sound by itself (see :func:`~qpher_core.audit.verifier.verify_export`, whose
    parameters these are), and each must go on exactly where the one before it ends.

    An export of chosen entries is verified alone.

    Returns:
        One report about all of them; about the first file that is not sound, if one is not.

    Raises:
        ValidationError: no list of files is given, or chosen entries together with something
            else; or the keys are no list.
        AuditIntegrityError: a text among the keys is no vkey.
        OSError: a file cannot be read.
    """
    if not exports or isinstance(exports, str | os.PathLike):
        raise ValidationError("exports must be a list of a file or more", parameter="exports")
    paths = list(map(Path, exports))
    trusted, refused = as_keys(keys, "keys"), as_keys(revoked, "revoked")
    if any(map(is_selection, paths)):
        if paths[1:] or last_anchor is not None:
            raise ValidationError(
                "chosen entries are verified alone, and continue no anchor", parameter="exports"
            )
        return verify_selection(paths[0], trusted, revoked=refused, primitives=primitives)
    headers = {path: _header(path) for path in paths}
    files = sorted(paths, key=lambda path: headers[path].base.size)
    compared = _compared(files, headers, last_anchor)
    total, done, reports = sum(path.stat().st_size for path in files), 0, []
    for path in files:
        report = verify_export(
            path,
            trusted,
            last_anchor=last_anchor if path == compared else None,
            revoked=refused,
            processes=processes,
            progress=progress and _shifted(progress, done, total),
            primitives=primitives,
        )
        if not report.ok:
            return evolve(
                report, detail=f"{path.name}: {report.detail}" if files[1:] else report.detail
            )
        reports.append(report)
        done += path.stat().st_size
    for (before, _), (after, path) in pairwise(zip(reports, files, strict=True)):
        if (finding := _joint(before, after, headers[path])) is not None:
            problem, seq, detail = finding
            return evolve(after, problem=problem, bad_seq=seq, detail=f"{path.name}: {detail}")
    return evolve(
        reports[-1], first=reports[0].first, anchors=sum(report.anchors for report in reports)
    )


def _header(path: Path) -> ExportHeader:
    """Return the header of an export, or an empty one: verifying names what is wrong with it."""
    try:
        return ExportFile(path).header()[0]
    except AuditIntegrityError:
        return ExportHeader("", 0, (), 0)


def _compared(
    files: Sequence[Path], headers: dict[Path, ExportHeader], last_anchor: str | None
) -> Path:
    """Return the file that knows the log at the size of an anchor that was kept, or the last."""
    try:
        size = Checkpoint.parse(Note.parse(last_anchor or "").text).size
    except AuditIntegrityError:
        return files[-1]  # where it is refused
    knowing = (file for file in files if headers[file].base.size <= size <= headers[file].size)
    return next(knowing, files[-1] if size > headers[files[0]].base.size else files[0])


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    return lambda part, _: progress(done + part, total)


def _joint(
    before: ExportReport, after: ExportReport, header: ExportHeader
) -> tuple[Problem, int, str] | None:
    """Return what is wrong where one file ends and the next begins."""
    end, begin = before.entries, after.first
    if before.tenant != after.tenant:
        return Problem.FOREIGN, begin, f"it belongs to the log of {after.tenant}"
    if before.service != after.service and before.service and after.service:
        return Problem.FOREIGN, begin, f"it is signed by another service, {after.service!r}"
    if begin > end:
        return Problem.MISSING, end, f"the entries from {end} to {begin - 1} are in no file"
    if begin < end:
        return Problem.DUPLICATED, begin, f"the entries from {begin} on are in another file, too"
    if (before.head, before.root) != (header.base.head, header.base.root):
        return Problem.FORKED, begin, f"it follows other entries than those before {begin}"
    return None


def prove_from_export(export: str | os.PathLike[str], seq: int) -> tuple[LogProof, bytes]:
    """Return the proof of an entry out of an export or a segment, and the entry's bytes.

    Nothing is verified with keys: :func:`~qpher_core.audit.proof.verify_proof` does.

    Raises:
        NotFound: the file does not hold the entry, or no anchor that covers it.
        AuditIntegrityError: the entries are not those that were anchored.
    """
    file = ExportFile(Path(export))
    header, notes = file.header()
    covering = (n for n in map(Note.parse, notes) if Checkpoint.parse(n.text).size > seq)
    anchor = next(covering, None)
    if anchor is None or seq < header.base.size:
        raise NotFound(f"the file does not hold entry {seq} and an anchor of it", parameter="seq")
    checkpoint, bodies = Checkpoint.parse(anchor.text), {}

    def fetch(wanted: Sequence[Subtree]) -> list[bytes]:
        found, peaks, places = header.base.kept, header.base.peaks, set(wanted)
        lines = islice(file.entries(header.offset), checkpoint.size - header.base.size)
        for place, line in enumerate(lines, header.base.size):
            if place == seq:
                bodies[place] = line[:-1]
            peaks, nodes = grow(place, peaks, leaf_hash(line[:-1]))
            for level in range(len(nodes) // HASH_BYTES):
                if (subtree := (level, place >> level)) in places:
                    found[subtree] = stored_hash(nodes, (level, 0))
        if not places <= found.keys() or seq not in bodies:
            raise bad_export("the file holds fewer entries than its anchors cover")
        return [found[subtree] for subtree in wanted]

    path = inclusion_path(seq, checkpoint.size, fetch)
    root = root_from_inclusion(leaf_hash(bodies[seq]), seq, checkpoint.size, path)
    if root != checkpoint.root:
        raise AuditIntegrityError(Problem.REWRITTEN, "the entries are not those anchored")
    return LogProof(seq, tuple(path), anchor), bodies[seq]
