# SPDX-License-Identifier: Apache-2.0
"""Exports: a whole log as JSON Lines that verifies by itself (docs/formats.md, Export).

    header, rotation statements, anchors, entries, end

Entries are their canonical bytes, one in a line. The last anchor covers all of them, so the
signature of that anchor is the signature of the export.
"""

import contextlib
import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from attrs import frozen

from qpher_core.audit.anchors import Anchorer
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.errors import NotFound
from qpher_core.models import canonical_json
from qpher_core.protocols import Store

__all__ = [
    "FORMAT",
    "LONGEST_LINE",
    "ExportFile",
    "ExportHeader",
    "bad_export",
    "export_lines",
    "parse_end",
    "write_export",
]

FORMAT: Final = "qpher-audit-export/1"

#: Longest line that is read; entries have a few hundred bytes, anchors below 10,000.
LONGEST_LINE: Final = 1 << 20


def export_lines(store: Store, anchorer: Anchorer, tenant_id: uuid.UUID) -> Iterator[bytes]:
    """Yield the lines of an export of a log as it is now; it is anchored first.

    Entries and anchors that come meanwhile are left out.
    """
    try:
        anchor = anchorer.anchor(tenant_id)
    except NotFound:
        size, last = 0, None
    else:
        size, last = anchor.size, Checkpoint.parse(Note.parse(anchor.note).text)
    yield _line({"export": FORMAT, "size": size, "tenant": str(tenant_id)})
    for statement in store.anchors.statements():
        yield _line({"statement": statement})
    for stored in store.anchors.read(tenant_id):
        if stored.size <= size:
            yield _line({"anchor": stored.note})
    for entry in store.audit.read(tenant_id, limit=size):
        yield entry.body + b"\n"
    head = last.head if last is not None and last.head is not None else bytes(32)
    yield _line({"end": {"head": head.hex(), "size": size}})


def write_export(lines: Iterator[bytes], target: Path) -> None:
    """Write an export to a file; compressed, if its name ends with ``.gz``."""
    with contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(target.open("wb"))
        if target.suffix == ".gz":
            file = cast("BinaryIO", stack.enter_context(gzip.open(file, "wb")))
        file.writelines(lines)


def _line(document: dict[str, object]) -> bytes:
    return canonical_json(document) + b"\n"


@frozen
class ExportHeader:
    """What an export states before its entries.

    Attributes:
        tenant: id of the tenant, as text.
        size: number of entries.
        statements: rotation statements.
        offset: byte at which the entries begin.
    """

    tenant: str
    size: int
    statements: tuple[str, ...]
    offset: int


class ExportFile:
    """An export for reading, compressed or not. A context manager."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.compressed = file.read(2) == b"\x1f\x8b"
        self.path = path
        self.bytes = path.stat().st_size

    def open(self) -> BinaryIO:
        """Open its content."""
        if self.compressed:
            return cast("BinaryIO", gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def header(self) -> tuple[ExportHeader, Iterator[str]]:
        """Return what comes before the entries, and the anchors, which are read as needed.

        Raises:
            AuditIntegrityError: ``bad-export``.
        """
        with self.open() as file:
            first = _parse(file.readline(LONGEST_LINE), "export", str)
            tenant, size = first.get("tenant"), first.get("size")
            if first["export"] != FORMAT or not isinstance(tenant, str) or type(size) is not int:
                raise bad_export("this is not an export of a format that is known")
            statements, offset = [], file.tell()
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if line.startswith(b'{"statement":'):
                    statements.append(str(_parse(line, "statement", str)["statement"]))
                elif not line.startswith(b'{"anchor":'):
                    break
                offset += len(line)
        return ExportHeader(tenant, size, tuple(statements), offset), self._anchors()

    def entries(self, offset: int) -> Iterator[bytes]:
        """Yield the lines of entries, and the end."""
        with self.open() as file:
            file.seek(offset)
            yield from iter(lambda: file.readline(LONGEST_LINE), b"")

    def _anchors(self) -> Iterator[str]:
        with self.open() as file:
            file.readline(LONGEST_LINE)
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if line.startswith(b'{"anchor":'):
                    yield str(_parse(line, "anchor", str)["anchor"])
                elif not line.startswith(b'{"statement":'):
                    return


def parse_end(line: bytes) -> tuple[int, bytes]:
    """Return (size, head) of the line that ends an export."""
    end = _parse(line, "end", dict)["end"]
    try:
        return int(end["size"]), bytes.fromhex(end["head"])
    except (KeyError, TypeError, ValueError):
        raise bad_export("the end of the export is malformed") from None


def bad_export(message: str) -> AuditIntegrityError:
    """Return the error for a file that is not a whole export."""
    return AuditIntegrityError(Problem.BAD_EXPORT, message)


def _parse(line: bytes, member: str, kind: type) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get(member), kind):
        raise bad_export(f"a line of the export lacks {member!r}")
    return document
