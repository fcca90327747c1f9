# SPDX-License-Identifier: Apache-2.0
"""Exports of chosen entries (docs/formats.md, Selection): each with its proof to one anchor.

Such an export shows that each entry in it is in the log, unaltered and at its place. It cannot
show that none was left out: for that, take the whole log.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from attrs import asdict

from qpher_core.audit.anchors import Anchorer
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.export import LONGEST_LINE, ExportFile, bad_export, is_tenant
from qpher_core.audit.grammar import ENTRY, is_entry
from qpher_core.audit.moving import check_kept, kept_entries
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.records import EMPTY_LOG, LogState, StoredAnchor
from qpher_core.audit.selection import EntryFilter
from qpher_core.audit.tree import inclusion_path, leaf_hash, root_from_inclusion
from qpher_core.audit.trust import believed, follow_statements
from qpher_core.audit.verifier import ExportReport
from qpher_core.audit.vkey import VerifierKey
from qpher_core.errors import IntegrityError, ValidationError
from qpher_core.models import AuditEntry, canonical_json, rfc3339
from qpher_core.protocols import Primitives, Store

__all__ = ["FORMAT", "is_selection", "selection_lines", "verify_selection"]

FORMAT: Final = "qpher-audit-selection/1"

_PATH: Final = b'{"path":'


def selection_lines(
    store: Store, anchorer: Anchorer, tenant_id: uuid.UUID, where: EntryFilter
) -> Iterator[bytes]:
    """Yield the lines of an export of the entries that a filter chooses; the log is anchored first.

    Raises:
        NotFound: the log is empty.
        StateConflict: entries were moved out meanwhile.
        AuditIntegrityError: as :meth:`Anchorer.anchor`.
    """
    base = store.audit.base(tenant_id) or EMPTY_LOG
    return _lines(store, tenant_id, where, base, anchorer.anchor(tenant_id))


def _lines(
    store: Store, tenant_id: uuid.UUID, where: EntryFilter, base: LogState, anchor: StoredAnchor
) -> Iterator[bytes]:
    size, count = anchor.size, 0
    header = {"export": FORMAT, "size": size, "tenant": str(tenant_id), "where": _stated(where)}
    yield _line(header)
    for statement in store.anchors.statements():
        yield _line({"statement": statement})
    yield _line({"anchor": anchor.note})
    for entry in kept_entries(store.audit, tenant_id, base, size):
        if where.matches(entry):
            yield _line({"path": [node.hex() for node in _path(store, entry, size)]})
            yield entry.body + b"\n"
            count += 1
    yield _line({"end": {"selected": count, "size": size}})


def _path(store: Store, entry: AuditEntry, size: int) -> list[bytes]:
    tenant_id = entry.tenant_id
    try:
        return inclusion_path(
            entry.seq, size, lambda wanted: store.audit.subtrees(tenant_id, wanted)
        )
    except IntegrityError:
        check_kept(store.audit, tenant_id, entry.seq)
        raise


def _stated(where: EntryFilter) -> dict[str, object]:
    members = {name: value for name, value in asdict(where).items() if value is not None}
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in members.items()
    }


def _line(document: dict[str, Any]) -> bytes:
    return canonical_json(document) + b"\n"


def is_selection(path: Path) -> bool:
    """Return whether a file says that it is an export of chosen entries."""
    try:
        with ExportFile(path).open() as file:
            return FORMAT.encode() in file.readline(LONGEST_LINE)
    except AuditIntegrityError:
        return False  # verifying names what is wrong with it


def verify_selection(
    export: Path,
    keys: Sequence[VerifierKey],
    *,
    revoked: Sequence[VerifierKey] = (),
    primitives: Primitives | None = None,
) -> ExportReport:
    """Verify an export of chosen entries.

    Args:
        export: the file, compressed or not.
        keys: anchor keys that are trusted; later ones follow from the statements in the export.
        revoked: keys that were revoked.
        primitives: provider of the signature algorithms; the default one where none is given.

    Raises:
        OSError: the file cannot be read.
    """
    selection = _Selection(keys, revoked, primitives)
    try:
        with ExportFile(export).open() as file:
            selection.read(file)
    except AuditIntegrityError as error:
        detail = str(error).partition(": ")[2]
        return selection.report(error.problem, detail)
    return selection.report(None, "")


class _Selection:
    """One verification under way."""

    def __init__(
        self,
        keys: Sequence[VerifierKey],
        revoked: Sequence[VerifierKey],
        primitives: Primitives | None,
    ) -> None:
        self._keys = list(keys)
        self._revoked = revoked
        self._primitives = primitives
        self._tenant, self._service, self._size, self._count = "", "", 0, 0
        self._where = EntryFilter()
        self._bad: int | None = None

    def report(self, problem: Problem | None, detail: str) -> ExportReport:
        """Return the report, with what is known by now."""
        return ExportReport(
            self._tenant,
            self._size,
            self._size if problem is None else 0,
            0 if problem else 1,
            problem=problem,
            bad_seq=self._bad,
            detail=detail,
            selected=self._count,
            service=self._service,
        )

    def read(self, file: BinaryIO) -> None:
        """Check a file from its beginning to its end."""
        lines = iter(lambda: file.readline(LONGEST_LINE), b"")
        self._header(_document(next(lines, b"")))
        document = _document(next(lines, b""))
        statements = []
        while "statement" in document:
            statements.append(str(document["statement"]))
            document = _document(next(lines, b""))
        self._keys = follow_statements(
            self._keys, statements, revoked=self._revoked, primitives=self._primitives
        )
        checkpoint = self._checkpoint(str(document.get("anchor")))
        last = -1
        for line in lines:
            if not line.startswith(_PATH):
                self._end(_document(line), next(lines, None))
                return
            last = self._entry(_document(line), next(lines, b""), checkpoint, last)
            self._count += 1
        raise AuditIntegrityError(Problem.CUT, "the export has no end")

    def _header(self, header: dict[str, Any]) -> None:
        tenant, size, where = header.get("tenant"), header.get("size"), header.get("where")
        if header.get("export") != FORMAT or not is_tenant(tenant) or type(size) is not int:
            raise bad_export("this is not an export of a format that is known")
        self._tenant, self._size = tenant, size
        try:
            self._where = EntryFilter(**{n: _read(n, v) for n, v in dict(where or {}).items()})
        except (TypeError, ValueError, ValidationError):
            raise bad_export("the header states a malformed filter") from None

    def _checkpoint(self, text: str) -> Checkpoint:
        checkpoint, _ = believed(
            Note.parse(text), self._keys, revoked=self._revoked, primitives=self._primitives
        )
        if (str(checkpoint.tenant_id), checkpoint.size) != (self._tenant, self._size):
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "the anchor is of another log or size")
        self._service = checkpoint.service
        return checkpoint

    def _entry(
        self, document: dict[str, Any], line: bytes, checkpoint: Checkpoint, last: int
    ) -> int:
        """Check one entry and return its place."""
        body = line[:-1]
        found = ENTRY.fullmatch(body) if line.endswith(b"\n") and is_entry(body) else None
        if found is None:
            raise AuditIntegrityError(
                Problem.MALFORMED, f"what follows entry {last} is not a canonical audit entry"
            )
        seq, owner = int(found.group(2)), found.group(3).decode()
        self._bad = seq
        if owner != self._tenant:
            raise AuditIntegrityError(Problem.FOREIGN, f"entry {seq} belongs to the log of {owner}")
        if seq <= last:
            problem = Problem.DUPLICATED if seq == last else Problem.REORDERED
            raise AuditIntegrityError(problem, f"entry {seq} follows entry {last}")
        try:
            path = [bytes.fromhex(node) for node in document["path"]]
        except (TypeError, ValueError):
            path = []
        if root_from_inclusion(leaf_hash(body), seq, self._size, path) != checkpoint.root:
            raise AuditIntegrityError(Problem.BAD_PROOF, f"entry {seq} is not the one anchored")
        if not self._where.matches(AuditEntry(uuid.UUID(owner), seq, body, b"")):
            raise AuditIntegrityError(Problem.INSERTED, f"entry {seq} was not asked for")
        self._bad = None
        return seq

    def _end(self, document: dict[str, Any], further: bytes | None) -> None:
        if document.get("end") != {"selected": self._count, "size": self._size}:
            raise AuditIntegrityError(Problem.CUT, "entries are gone, or the end is another's")
        if further is not None:
            raise bad_export("something follows the end of the export")


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
        exact = isinstance(document, dict) and _line(document) == line
    except (ValueError, TypeError, RecursionError):
        exact = False
    if not exact or len(document) != (4 if "export" in document else 1):
        raise bad_export("a line of the export is not in its one canonical form")
    return cast("dict[str, Any]", document)


def _read(name: str, value: Any) -> Any:
    """Return the value of a member of a stated filter."""
    return datetime.fromisoformat(value) if name in {"since", "until"} else value
