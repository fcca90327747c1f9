# SPDX-License-Identifier: Apache-2.0
"""Models of key encryption keys and of scheduled rotation."""

from typing import Literal

import msgspec

from qpher_core.asgi.models import Model, Name
from qpher_core.asgi.models_keys import KeyInfo


class ProtectorInfo(msgspec.Struct):
    """The KEK that seals, how many records are under each, and those that none needs any more."""

    kek_id: str
    records: dict[str, int]
    replaced: list[str]


class RecordInfo(msgspec.Struct):
    """Which key record; the nil tenant has the service's own."""

    tenant_id: str
    name: str
    algorithm: str
    key_version: int


class Rewrapped(msgspec.Struct):
    """What was sealed anew: the KEK, how many records, which did not open, KEKs not needed now."""

    kek_id: str
    moved: int
    damaged: list[RecordInfo]
    replaced: list[str]


class Maintain(Model):
    """Rotate what is due; of one tenant, by name or id, or of all. A dry run only says what is."""

    tenant: Name | None = None
    dry_run: bool = False


class ScheduledInfo(msgspec.Struct):
    """A key that a rotation rule matches: its active version before a rotation, and its standing.

    ``due_at`` is RFC 3339, UTC; ``problem`` says why it could not be rotated.
    """

    tenant_id: str
    tenant: str
    key: KeyInfo
    standing: Literal["later", "due soon", "overdue", "rotated", "failed"]
    due_at: str | None
    uses: int | None
    max_uses: int | None
    replaced_by: int | None
    problem: str


class UnreadInfo(msgspec.Struct):
    """A tenant whose rules, keys or log could not be read, and why."""

    tenant: str
    problem: str


class Maintained(msgspec.Struct):
    """All keys with a schedule, by tenant and name, and the tenants whose schedule is unknown."""

    keys: list[ScheduledInfo]
    unread: list[UnreadInfo]
