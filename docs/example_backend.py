# SPDX-License-Identifier: Apache-2.0
"""An example of a backend (docs/backends.md): everything in memory, and every change in one file.

A commit is one line: the calls that wrote. Opening the store makes these calls again.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import attrs

from qpher_backends.memory import MemoryStore
from qpher_core import StoreUnavailable
from qpher_core.audit.records import LogBase, StoredAnchor
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    ApiKey,
    ApiKeyRecord,
    AuditEntry,
    IdempotencyRecord,
    Intent,
    KeyRecord,
    KeyRef,
    KeyVersion,
    PolicyDocument,
    Tenant,
    TenantStatus,
)

T = TypeVar("T")

#: The methods of writers that write.
WRITES = {
    "insert", "replace", "append", "add", "remove", "add_statement", "put", "forget", "move_out",
}  # fmt: skip

#: Value types by name, with what makes one of the members that JSON kept.
TYPES: dict[str, Callable[..., Any]] = {
    made.__name__: made
    for made in (
        ApiKey, ApiKeyRecord, AuditEntry, IdempotencyRecord, Intent, KeyRecord, KeyRef, KeyState,
        KeyVersion, LogBase, PolicyDocument, StoredAnchor, Tenant, TenantStatus,
    )
}  # fmt: skip
TYPES |= {"UUID": uuid.UUID, "bytes": bytes.fromhex, "datetime": datetime.fromisoformat}


def encode(value: object) -> object:
    """Return a value as JSON has it: what is not plain becomes ``{type: [members]}``."""
    name = type(value).__name__
    if attrs.has(type(value)):
        return {name: [encode(getattr(value, a.name)) for a in attrs.fields(type(value))]}
    if isinstance(value, tuple | frozenset):
        return {name: [encode(item) for item in value]}
    if isinstance(value, bytes):
        return {name: [value.hex()]}
    if name in TYPES:
        return {name: [value.isoformat() if isinstance(value, datetime) else str(value)]}
    return value


def decode(value: Any) -> Any:
    """Undo :func:`encode`."""
    if not isinstance(value, dict):
        return value
    ((name, members),) = value.items()
    decoded = [decode(member) for member in members]
    if name in {"tuple", "frozenset"}:
        return tuple(decoded) if name == "tuple" else frozenset(decoded)
    return TYPES[name](*decoded)


class Recorder:
    """A writer that notes the calls that write; ``path`` is the way to it from the store."""

    def __init__(self, writer: object, calls: list[Any], *path: str) -> None:
        self._writer, self._calls, self._path = writer, calls, path

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._writer, name)
        if not callable(value):
            return Recorder(value, self._calls, *self._path, name)
        if name not in WRITES:
            return value

        def call(*values: Any, **named: Any) -> Any:
            result = value(*values, **named)  # first: one that raises did not write
            self._calls.append([[*self._path, name], [encode(v) for v in values], named])
            return result

        return call


class ExampleStore:
    """Implements ``Participant``, for one process at a time."""

    readers_wait = True  # MemoryStore's do

    def __init__(self, folder: Path) -> None:
        self._memory = MemoryStore()
        self._file = (folder / "commits.jsonl").open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise StoreUnavailable("another process has the store open") from None
        self.default_protector = f"file://{folder.absolute()}/kek"
        self._file.seek(0)
        self._end = 0
        for line in self._file:
            if line.endswith(b"\n"):  # else its writer died: nobody was told that it counts
                self._memory.commit(lambda writer, line=line: self._again(writer, line))
                self._end += len(line)
        self._file.truncate(self._end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)  # keys, audit, tenants and the rest are read there

    def commit(self, work: Callable[[Any], T], *, tenant_id: uuid.UUID | None = None) -> T:
        """Run ``work``; the line is on disk before anyone sees what it wrote."""
        del tenant_id  # commits go one at a time, for whichever tenant

        def recorded(writer: MemoryStore) -> T:
            calls: list[Any] = []
            result = work(Recorder(writer, calls))
            if calls:
                self._append(json.dumps(calls).encode() + b"\n")
            return result

        return self._memory.commit(recorded)

    def close(self) -> None:
        """Give the file to others."""
        self._memory.close()
        self._file.close()

    def _append(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)
            raise StoreUnavailable(f"the file cannot be written: {error}") from error
        self._end += len(line)

    def _again(self, writer: object, line: bytes) -> None:
        for path, values, named in json.loads(line):
            target = writer
            for name in path:
                target = getattr(target, name)
            target(*[decode(value) for value in values], **named)  # type: ignore[operator]
