# SPDX-License-Identifier: Apache-2.0
"""Models of the audit log, its anchors and its proofs."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from qpher_core.asgi.models import AlgorithmName, Model, Name, Version
from qpher_core.asgi.models_tenants import Owner

Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, with a time zone.")]
Place = Annotated[int, Meta(ge=0, le=2**53)]


class ExportParams(Model):
    """Which entries; all of them where nothing is given."""

    since: Moment | None = None
    until: Moment | None = None
    actor: Name | None = None
    action: Annotated[str, Meta(max_length=64)] | None = None
    outcome: Literal["success", "denied", "failed"] | None = None
    name: Name | None = None
    algorithm: AlgorithmName | None = None
    version: Version | None = None


class LogParams(ExportParams, kw_only=True):
    """Whose log: a tenant's id, or ``service``; and which entries of it."""

    tenant_id: Owner


class EntryParams(ExportParams):
    """Which entries. Filters are the same on every page."""

    cursor: Place = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class SeqParams(Model):
    """Which entry."""

    seq: Place


class AnchorParams(Model):
    """Which anchors: those of at least so many entries."""

    start: Place = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Entry(msgspec.Struct):
    """An entry: its canonical bytes as text, and their SHA-256 in hexadecimal."""

    seq: int
    hash: str
    body: str


class EntryList(msgspec.Struct):
    """A page of entries; ``cursor`` is for the next one, null where there is none."""

    entries: list[Entry]
    cursor: int | None


class Proof(msgspec.Struct):
    """An entry and the C2SP tlog-proof that the log holds it."""

    entry: Entry
    proof: str


class Anchor(msgspec.Struct):
    """A signed checkpoint of the tenant's log."""

    size: int
    time: str
    note: str


class AnchorList(msgspec.Struct):
    """Anchors, by size; ``cursor`` is the ``start`` of the next page, null where there is none."""

    anchors: list[Anchor]
    cursor: int | None


class LogReport(msgspec.Struct):
    """Outcome of verifying the tenant's log; ``head`` is hexadecimal."""

    ok: bool
    entries: int
    bad_seq: int | None
    problem: str
    head: str


class AnchorKeys(msgspec.Struct):
    """The keys that sign anchors, as vkeys: the one in use, and all that ever were."""

    key: str
    keys: list[str]
