# SPDX-License-Identifier: Apache-2.0
"""Exports: a log as JSON Lines that verifies by itself (docs/formats.md, Export).

    header, rotation statements, anchors, entries, end

Entries are their canonical bytes, one in a line. The last anchor covers all of them, so the
signature of that anchor is the signature of the export.
"""

import contextlib
import gzip
import io
import json
import uuid
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeGuard, cast

from attrs import frozen

from qpher_core.audit.anchors import Anchorer
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.moving import kept_entries
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.records import EMPTY_LOG, LogState, StoredAnchor
from qpher_core.audit.tree import HASH_BYTES
from qpher_core.errors import NotFound
from qpher_core.file_io import open_target
from qpher_core.models import canonical_json
from qpher_core.protocols import Store

__all__ = [
    "END",
    "FORMAT",
    "LONGEST_LINE",
    "ExportFile",
    "ExportHeader",
    "bad_export",
    "blocks",
    "export_lines",
    "is_tenant",
    "lines_between",
    "parse_end",
    "write_export",
]

FORMAT: Final = "qpher-audit-export/1"

#: Longest line that is read; entries have a few hundred bytes, anchors below 10,000.
LONGEST_LINE: Final = 1 << 20

#: What the last line begins with.
END: Final = b'{"end":'

_END_BYTES: Final = 256  # of a last line: more than the end has

#: What is verified at once, some 250 entries: calls are few, and the processor's cache holds it.
_BLOCK_BYTES: Final = 1 << 17


def export_lines(store: Store, anchorer: Anchorer, tenant_id: uuid.UUID) -> Iterator[bytes]:
    """Yield the lines of an export of a log as it is now; it is anchored first.

    Entries and anchors that come meanwhile are left out, and those that were moved out before.
    """
    base = store.audit.base(tenant_id) or EMPTY_LOG
    try:
        anchor = anchorer.anchor(tenant_id)
    except NotFound:
        if store.audit.state(tenant_id).size:
            raise  # it has entries, and no anchor of them can be made
        anchor = None
    return lines_between(store, tenant_id, base, anchor)


def lines_between(
    store: Store, tenant_id: uuid.UUID, base: LogState, anchor: StoredAnchor | None
) -> Iterator[bytes]:
    """Yield the lines of an export of the entries from ``base`` to an anchor; None: of none."""
    size, head = 0, EMPTY_LOG.head
    if anchor is not None:
        size, head = anchor.size, Checkpoint.parse(Note.parse(anchor.note).text).head or head
    yield _header(str(tenant_id), size, base)
    for statement in store.anchors.statements():
        yield _line({"statement": statement})
    for stored in store.anchors.read(tenant_id, start=base.size):
        if stored.size > size:
            break
        yield _line({"anchor": stored.note})
    for entry in kept_entries(store.audit, tenant_id, base, size):
        yield entry.body + b"\n"
    yield _end(size, head)


def write_export(lines: Iterator[bytes], target: Path, *, compressed: bool | None = None) -> None:
    """Write an export to a file, which appears complete and durable or not at all.

    It is compressed, if its name ends with ``.gz``, where not stated.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_target(target))
        if compressed or (compressed is None and target.suffix == ".gz"):
            # Without name and time: the same lines give the same file.
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
            file = cast("BinaryIO", stack.enter_context(packed))
        file.writelines(lines)


def _header(tenant: str, size: int, base: LogState) -> bytes:
    header: dict[str, object] = {"export": FORMAT, "size": size, "tenant": tenant}
    if base.size:
        header["base"] = {"head": base.head.hex(), "peaks": base.peaks.hex(), "size": base.size}
    return _line(header)


def _end(size: int, head: bytes) -> bytes:
    return _line({"end": {"head": head.hex(), "size": size}})


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
        base: the state of the log before the first of them.
    """

    tenant: str
    size: int
    statements: tuple[str, ...]
    offset: int
    base: LogState = EMPTY_LOG


class ExportFile:
    """An export for reading, compressed or not. A context manager."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.compressed = file.read(2) == b"\x1f\x8b"
        self.path = path
        self.bytes = path.stat().st_size

    def open(self) -> io.BufferedReader:
        """Open its content."""
        if self.compressed:
            return cast("io.BufferedReader", _Packed(self.path, "rb"))
        return self.path.open("rb")

    def header(self) -> tuple[ExportHeader, Iterator[str]]:
        """Return what comes before the entries, and the anchors, which are read as needed.

        Raises:
            AuditIntegrityError: ``bad-export``.
        """
        with self.open() as file:
            line = file.readline(LONGEST_LINE)
            first = _parse(line, "export", str)
            tenant, size = first.get("tenant"), first.get("size")
            if first["export"] != FORMAT or not is_tenant(tenant) or type(size) is not int:
                raise bad_export("this is not an export of a format that is known")
            base = _base(first.get("base"))
            if _header(tenant, size, base) != line:
                raise bad_export("the header is not in its one canonical form")
            statements, offset = [], file.tell()
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if line.startswith(b'{"statement":'):
                    statements.append(_text(line, "statement"))
                elif not line.startswith(b'{"anchor":'):
                    break
                offset += len(line)
        return ExportHeader(tenant, size, tuple(statements), offset, base), self._anchors()

    def entries(self, offset: int) -> Iterator[bytes]:
        """Yield the lines of entries, and the end."""
        with self.open() as file:
            file.seek(offset)
            yield from iter(lambda: file.readline(LONGEST_LINE), b"")

    def last_line(self, offset: int) -> bytes:
        """Return the last line at or after a place, as much of it as the end may have."""
        with self.open() as file:
            file.seek(offset if self.compressed else max(offset, self.bytes - _END_BYTES))
            last = b""
            for part in iter(partial(file.read, _BLOCK_BYTES), b""):
                last = (last + part)[-_END_BYTES:]
        return last[last.rfind(b"\n", 0, -1) + 1 :]

    def _anchors(self) -> Iterator[str]:
        with self.open() as file:
            file.readline(LONGEST_LINE)
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if line.startswith(b'{"anchor":'):
                    yield _text(line, "anchor")
                elif not line.startswith(b'{"statement":'):
                    return


def blocks(file: io.BufferedReader, length: int) -> Iterator[bytes]:
    """Yield the lines that begin within so many bytes, many of them at once.

    The end of the export is left out, if nothing follows it. A line that is too long is cut.
    """
    while length > 0:
        block = file.read(min(length, _BLOCK_BYTES))
        begun = len(block) - 1 - block.rfind(b"\n")  # of its last line
        if begun:
            block += file.readline(LONGEST_LINE - begun)
        length -= len(block)
        if not file.peek(1):
            length, block = 0, _without_end(block)
        if block:
            yield block


def _without_end(block: bytes) -> bytes:
    last = block.rfind(b"\n", 0, -1) + 1
    return block[:last] if block.startswith(END, last) else block


class _Packed(gzip.GzipFile):
    """A compressed export; one that is cut or damaged is a ``bad-export``."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        with _unpacking():
            return super().read(size)

    def peek(self, n: int) -> bytes:
        """Return what comes next, without going on."""
        with _unpacking():
            return super().peek(n)

    def readline(self, size: int | None = -1) -> bytes:
        """Return the next line."""
        with _unpacking():
            return super().readline(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, reading what comes before."""
        with _unpacking():
            return super().seek(offset, whence)


@contextlib.contextmanager
def _unpacking() -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad_export(f"the compressed file is cut or damaged: {error}") from error


def is_tenant(value: object) -> TypeGuard[str]:
    """Return whether a header's tenant is an id as this library writes it."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def parse_end(line: bytes) -> tuple[int, bytes]:
    """Return (size, head) of the line that ends an export."""
    end = _parse(line, "end", dict)["end"]
    try:
        size, head = int(str(end["size"])), bytes.fromhex(end["head"])
    except (KeyError, TypeError, ValueError):
        size, head = -1, b""
    if size < 0 or _end(size, head) != line:
        raise bad_export("the end of the export is malformed")
    return size, head


def _base(stated: object) -> LogState:
    """Return the state that a header says the entries follow."""
    if stated is None:
        return EMPTY_LOG
    try:
        head, peaks = bytes.fromhex(stated["head"]), bytes.fromhex(stated["peaks"])  # type: ignore[index]
        base = LogState(stated["size"], head, peaks)  # type: ignore[index]
        sound = type(base.size) is int and base.size > 0 and len(head) == HASH_BYTES and base.whole
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise bad_export("the header states a malformed base")
    return base


def bad_export(message: str) -> AuditIntegrityError:
    """Return the error for a file that is not a whole export."""
    return AuditIntegrityError(Problem.BAD_EXPORT, message)


def _text(line: bytes, member: str) -> str:
    """Return the text of a line that has one member, and nothing else that a reader could see."""
    text: str = _parse(line, member, str)[member]
    try:
        exact = _line({member: text}) == line
    except ValueError:  # surrogates have no UTF-8
        exact = False
    if not exact:
        raise bad_export(f"a line with {member!r} is not in its one canonical form")
    return text


def _parse(line: bytes, member: str, kind: type) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get(member), kind):
        raise bad_export(f"a line of the export lacks {member!r}")
    return document
