# SPDX-License-Identifier: Apache-2.0
"""Choosing entries of a log by who, what, when and which key, and reading them in pages."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from attrs import frozen

from qpher_core.errors import ValidationError
from qpher_core.models import AuditEntry, rfc3339
from qpher_core.validation import check_moment, check_version

__all__ = ["EntryFilter", "EntryPage", "check_limit", "make_page"]

_LONGEST_PAGE: Final = 1000


@frozen(kw_only=True)
class EntryFilter:
    """Which entries of a log. What is None admits every value.

    Attributes:
        since: entries of this moment or later; with a time zone.
        until: entries before this moment; with a time zone.
        actor: who asked.
        action: name in the table of operations, such as ``kem.encrypt``.
        outcome: ``success``, ``denied`` or ``failed``.
        name: name of the key.
        algorithm: canonical name of the key's algorithm.
        version: version of the key.
    """

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    outcome: str | None = None
    name: str | None = None
    algorithm: str | None = None
    version: int | None = None

    def __attrs_post_init__(self) -> None:
        """Check the parts. Raises ``ValidationError``."""
        for name in ("since", "until"):
            if (moment := getattr(self, name)) is not None:
                check_moment(moment, name)
        for name in ("actor", "action", "outcome", "name", "algorithm"):
            if not isinstance(getattr(self, name), str | None):
                raise ValidationError(f"{name} must be text", parameter=name)
        if self.version is not None:
            check_version(self.version, "version")

    def matches(self, entry: AuditEntry) -> bool:
        """Return whether an entry is one of them."""
        fields = entry.fields
        key = fields["key"] or {}
        wanted = (
            (self.actor, fields["actor"]),
            (self.action, fields["action"]),
            (self.outcome, fields["outcome"]),
            (self.name, key.get("name")),
            (self.algorithm, key.get("algorithm")),
            (self.version, key.get("version")),
        )
        return all(want in {None, found} for want, found in wanted) and self._in_time(
            fields["time"]
        )

    def _in_time(self, time: str) -> bool:
        """Compare as text: the form of times in entries sorts as the times do."""
        after = self.since is None or time >= rfc3339(self.since.astimezone(UTC))
        return after and (self.until is None or time < rfc3339(self.until.astimezone(UTC)))


@frozen
class EntryPage:
    """Some entries, and where to go on.

    Attributes:
        entries: in order.
        cursor: for the next page; None if there was no more entry when this one was read.
    """

    entries: tuple[AuditEntry, ...]
    cursor: int | None


def check_limit(limit: object) -> None:
    """Raise ``ValidationError`` if a page cannot have so many entries."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LONGEST_PAGE:
        raise ValidationError(f"limit must be from 1 to {_LONGEST_PAGE}", parameter="limit")


def make_page(entries: Iterator[AuditEntry], limit: int) -> EntryPage:
    """Return a page of the first entries; one more than ``limit`` shows that there are more."""
    page = tuple(islice(entries, limit))
    following = next(entries, None)
    return EntryPage(page, following.seq if following is not None else None)
