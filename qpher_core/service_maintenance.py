# SPDX-License-Identifier: Apache-2.0
"""``kms.maintain()``: rotating the keys that are due, by the rotation rules of the policies.

A key is due when its active version has reached the age or the number of uses of any rule that
matches it, of the service or of its tenant. Several nodes may do it at once: a version is
replaced once, whoever comes first. Each tenant is maintained on its own: one whose rules, keys or
log cannot be read is reported and keeps none of the others from its rotations.
"""

import enum
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from attrs import evolve, frozen

from qpher_core.algorithms import ALGORITHMS
from qpher_core.calls import Effect, KeySelector, Overtaken
from qpher_core.errors import QpherError
from qpher_core.key_usage import LogUsage
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    SERVICE,
    KeyVersion,
    RequestContext,
    Tenant,
    TenantStatus,
    canonical_json,
)
from qpher_core.operations import OPERATIONS
from qpher_core.pipeline import Pipeline
from qpher_core.policy.documents import parse_rules
from qpher_core.policy.match import matches
from qpher_core.policy.rules import RotationRule
from qpher_core.protocols import KeyStore, PolicyRecords
from qpher_core.session_keys import rotation
from qpher_core.validation import check_name

__all__ = ["Due", "Maintainer", "MaintenanceReport", "ScheduledKey", "UnreadTenant"]

_PAGE: Final = 1000
_SOON: Final = 0.9  # share of the uses from which on a key is due soon


class Due(enum.StrEnum):
    """Where a scheduled key stands."""

    LATER = "later"
    SOON = "due soon"
    OVERDUE = "overdue"
    ROTATED = "rotated"
    FAILED = "failed"


@frozen
class ScheduledKey:
    """One key that a rotation rule matches.

    Attributes:
        tenant: whose it is.
        key: the active version, before a rotation.
        due: where it stands.
        due_at: when it reaches the age of the strictest rule; None where only uses count.
        uses: how often it protected; None where no rule counts uses.
        max_uses: the fewest uses that a rule allows; None where none does.
        replaced_by: the version that is active instead, after a rotation.
        problem: why it could not be rotated, or an empty string.
    """

    tenant: str
    key: KeyVersion
    due: Due
    due_at: datetime | None
    uses: int | None
    max_uses: int | None
    replaced_by: int | None = None
    problem: str = ""


@frozen
class UnreadTenant:
    """A tenant whose schedule is unknown; none of its keys was rotated.

    Attributes:
        tenant: its name.
        problem: why its rules, keys or log could not be read.
    """

    tenant: str
    problem: str


@frozen
class MaintenanceReport:
    """What a maintenance found and did.

    Attributes:
        keys: all keys with a schedule, by tenant and name.
        unread: the tenants that it could not look at.
    """

    keys: tuple[ScheduledKey, ...]
    unread: tuple[UnreadTenant, ...] = ()

    def standing(self, due: Due | str) -> tuple[ScheduledKey, ...]:
        """Return the keys that stand at one point."""
        return tuple(key for key in self.keys if key.due == due)

    @property
    def ok(self) -> bool:
        """Whether all tenants were looked at, no key is overdue and none could not be rotated."""
        return not (self.unread or self.standing(Due.OVERDUE) or self.standing(Due.FAILED))


class _Tenants(Protocol):
    def get(self, tenant: str | uuid.UUID) -> Tenant: ...
    def list(self) -> Sequence[Tenant]: ...


@frozen
class Maintainer:
    """Rotates what is due."""

    _pipeline: Pipeline
    _keys: KeyStore
    _policies: PolicyRecords
    _usage: LogUsage
    _tenants: _Tenants
    _clock: Callable[[], datetime]

    def run(
        self, tenant: str | uuid.UUID | None, actor: str | RequestContext, *, dry_run: bool
    ) -> MaintenanceReport:
        """Implement ``kms.maintain``."""
        name = actor.actor if isinstance(actor, RequestContext) else check_name(actor, "actor")
        wanted = self._tenants.list() if tenant is None else [self._tenants.get(tenant)]
        active = [found for found in wanted if found.status is TenantStatus.ACTIVE]
        report = self._maintain(active, None if dry_run else name)
        return report if dry_run else self._recorded(report, actor)

    def _maintain(self, tenants: Sequence[Tenant], actor: str | None) -> MaintenanceReport:
        """Maintain one tenant after the other; without an actor nothing is rotated."""
        shared, keys, unread = self._rules(None), list[ScheduledKey](), list[UnreadTenant]()
        for tenant in tenants:
            try:
                scheduled = list(self._scheduled(tenant, shared))
            except QpherError as error:
                unread.append(UnreadTenant(tenant.name, _told(error)))
            else:
                keys += scheduled if actor is None else self._rotated(scheduled, actor)
        return MaintenanceReport(tuple(keys), tuple(unread))

    def _rotated(self, scheduled: Sequence[ScheduledKey], actor: str) -> Iterator[ScheduledKey]:
        """Rotate what is overdue."""
        for key in scheduled:
            yield self._rotate(key, actor) if key.due is Due.OVERDUE else key

    def _recorded(
        self, report: MaintenanceReport, actor: str | RequestContext
    ) -> MaintenanceReport:
        """Record that there was a maintenance; each rotation has its own entry."""
        counts = {str(due): len(report.standing(due)) for due in (Due.ROTATED, Due.FAILED)}
        counts["unread"] = len(report.unread)
        effect = Effect(report, canonical_json(counts))
        return self._pipeline.administer(
            OPERATIONS["maintenance.run"], SERVICE, actor, lambda _: effect
        )

    def _scheduled(self, tenant: Tenant, shared: Sequence[RotationRule]) -> Iterator[ScheduledKey]:
        rules = [*shared, *self._rules(tenant.id)]
        if not rules:
            return
        for key in self._active(tenant.id):
            matching = [rule for rule in rules if _matches(rule, key)]
            if matching:
                yield self._stand(tenant, key, matching)

    def _rules(self, tenant_id: uuid.UUID | None) -> list[RotationRule]:
        document = self._policies.get(tenant_id)
        rules = () if document is None else parse_rules(document.rules)
        return [rule for rule in rules if isinstance(rule, RotationRule)]

    def _active(self, tenant_id: uuid.UUID) -> Iterator[KeyVersion]:
        after = None
        while page := self._keys.find(tenant_id, state=KeyState.ACTIVE, after=after, limit=_PAGE):
            yield from page
            after = page[-1].ref

    def _stand(
        self, tenant: Tenant, key: KeyVersion, rules: Sequence[RotationRule]
    ) -> ScheduledKey:
        now = self._clock()
        ages = [(key.created_at + rule.max_age, rule.warn) for rule in rules if rule.max_age]
        limits = [rule.max_uses for rule in rules if rule.max_uses]
        uses = self._usage.of(key.ref).protected if limits else None
        due_at = min((moment for moment, _ in ages), default=None)
        due = Due.LATER
        if any(moment - warn <= now for moment, warn in ages) or _reached(uses, limits, _SOON):
            due = Due.SOON
        if (due_at is not None and due_at <= now) or _reached(uses, limits, 1):
            due = Due.OVERDUE
        return ScheduledKey(tenant.name, key, due, due_at, uses, min(limits, default=None))

    def _rotate(self, scheduled: ScheduledKey, actor: str) -> ScheduledKey:
        try:
            version = self._replace(scheduled, actor)
        except QpherError as error:
            return evolve(scheduled, due=Due.FAILED, problem=_told(error))
        return evolve(scheduled, due=Due.ROTATED, replaced_by=version)

    def _replace(self, scheduled: ScheduledKey, actor: str) -> int | None:
        """Rotate a key, unless someone else does, and return the version that is active then."""
        key = scheduled.key
        context = RequestContext(key.ref.tenant_id, actor)
        selector = KeySelector(key.name, ALGORITHMS[key.algorithm])
        call = rotation(
            self._keys, selector, only=key.version, reason=_reason(scheduled, self._clock())
        )
        try:
            new, _ = self._pipeline.run(context, call).value
        except Overtaken:
            now = self._keys.active(key.ref.tenant_id, key.name, key.algorithm)
            return None if now is None else now.version
        return new.version


def _told(error: QpherError) -> str:
    return f"{error.code}: {error}"


def _matches(rule: RotationRule, key: KeyVersion) -> bool:
    parts = ((rule.match.algorithms, key.algorithm), (rule.match.key_names, key.name))
    return all(patterns is None or matches(patterns, [value]) for patterns, value in parts)


def _reached(uses: int | None, limits: Sequence[int], share: float) -> bool:
    return uses is not None and uses >= min(limits) * share


def _reason(scheduled: ScheduledKey, now: datetime) -> str:
    if scheduled.due_at is not None and scheduled.due_at <= now:
        return f"scheduled: {(now - scheduled.key.created_at) // timedelta(days=1)} days old"
    return f"scheduled: {scheduled.uses} uses"
