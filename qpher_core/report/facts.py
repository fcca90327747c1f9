# SPDX-License-Identifier: Apache-2.0
"""What a report is made of, read through the same calls that anyone else uses."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final

from attrs import frozen

from qpher_core.audit.records import StoredAnchor
from qpher_core.lifecycle import KeyState
from qpher_core.models import AuditReport, KeyVersion, ProtectorStatus, Tenant, TenantStatus
from qpher_core.policy.profiles import PROFILES
from qpher_core.report.dates import MILESTONES
from qpher_core.service import Qpher
from qpher_core.service_maintenance import ScheduledKey, UnreadTenant
from qpher_core.session import Session

__all__ = ["AGES", "Facts", "TenantFacts", "collect", "collect_session"]

_PAGE: Final = 1000

#: Bounds of the age classes: label, and from how many days on.
AGES: Final[tuple[tuple[str, int], ...]] = (
    ("under 30 days", 0),
    ("30 to 90 days", 30),
    ("90 to 180 days", 90),
    ("180 days to 1 year", 180),
    ("1 to 2 years", 365),
    ("over 2 years", 730),
)


@frozen
class TenantFacts:
    """What a report says about one tenant.

    Attributes:
        keys: all its key versions, destroyed ones included.
        audit: outcome of verifying its whole log.
        anchor: the last anchor of its log, or None.
        anchors_known: whether the anchors could be asked for; a service elsewhere keeps its own.
        keys_known: whether the keys could be asked for; those of a suspended tenant cannot.
    """

    tenant: Tenant
    keys: tuple[KeyVersion, ...]
    audit: AuditReport
    anchor: StoredAnchor | None
    anchors_known: bool = True
    keys_known: bool = True

    @property
    def unanchored(self) -> int:
        """How many entries no anchor covers."""
        return max(self.audit.entries - (self.anchor.size if self.anchor else 0), 0)


@frozen
class Facts:
    """All that a report says.

    Attributes:
        store: scheme of the store; never its URL, which can hold a password.
        schedule: the keys that a rotation rule matches; None where the service keeps that.
        protector: records under each key encryption key; None where the service keeps that.
        unread: the tenants whose schedule is unknown.
    """

    time: datetime
    version: str
    store: str
    provider: str
    tenants: tuple[TenantFacts, ...]
    schedule: tuple[ScheduledKey, ...] | None
    protector: ProtectorStatus | None
    unread: tuple[UnreadTenant, ...] = ()

    @property
    def keys(self) -> Iterator[tuple[Tenant, KeyVersion]]:
        """Every key version with its tenant."""
        return ((found.tenant, key) for found in self.tenants for key in found.keys)

    def age(self, key: KeyVersion) -> timedelta:
        """Return how old a key version is."""
        return self.time - key.created_at

    def age_class(self, key: KeyVersion) -> str:
        """Return the label of a key's age."""
        days = self.age(key) / timedelta(days=1)
        return [label for label, least in AGES if days >= least or least == 0][-1]

    def in_use(self) -> list[tuple[Tenant, KeyVersion]]:
        """Return the key versions that protect new data."""
        return [(tenant, key) for tenant, key in self.keys if key.state is KeyState.ACTIVE]

    def outside(self, profile: str) -> list[tuple[Tenant, KeyVersion]]:
        """Return the key versions outside a profile that still exist, those in use first."""
        found = [
            (tenant, key)
            for tenant, key in self.keys
            if key.algorithm not in PROFILES[profile] and key.state is not KeyState.DESTROYED
        ]
        return sorted(found, key=lambda pair: pair[1].state is not KeyState.ACTIVE)

    def conforms(self, profile: str) -> bool:
        """Return whether everything that protects new data is of a profile."""
        return all(key.algorithm in PROFILES[profile] for _, key in self.in_use())

    @property
    def profiles(self) -> Sequence[str]:
        """The profiles that are reported on."""
        return list(MILESTONES)

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Key versions by algorithm and state."""
        table: dict[str, dict[str, int]] = {}
        for _, key in self.keys:
            row = table.setdefault(key.algorithm, dict.fromkeys(map(str, KeyState), 0))
            row[str(key.state)] += 1
        return table


def collect(
    kms: Qpher, tenants: Sequence[Tenant], *, store: str, provider: str, actor: str
) -> Facts:
    """Read the facts of tenants of a local store. It verifies their whole logs."""
    found = [_of_tenant(kms, tenant, actor) for tenant in tenants]
    wanted = {tenant.name for tenant in tenants}
    due = kms.maintain(dry_run=True, actor=actor)
    return Facts(
        datetime.now(UTC),
        version("qpher-core"),
        store.partition(":")[0],
        provider,
        tuple(found),
        tuple(key for key in due.keys if key.tenant in wanted),
        kms.protector.status(),
        tuple(unread for unread in due.unread if unread.tenant in wanted),
    )


def _of_tenant(kms: Qpher, tenant: Tenant, actor: str) -> TenantFacts:
    known = tenant.status is TenantStatus.ACTIVE
    keys = _keys(kms.session(tenant.id, actor=actor)) if known else ()
    report, anchor = kms.audit.verify(tenant.id), kms.anchors.latest(tenant)
    return TenantFacts(tenant, keys, report, anchor, keys_known=known)


def collect_session(session: Session, *, store: str) -> Facts:
    """Read the facts of the one tenant of a session, such as that of a service elsewhere."""
    tenant = session.usage.current().tenant
    found = TenantFacts(tenant, _keys(session), session.audit.verify(), None, anchors_known=False)
    scheme = store.partition(":")[0]
    return Facts(
        datetime.now(UTC), version("qpher-core"), scheme, "the service's", (found,), None, None
    )


def _keys(session: Session) -> tuple[KeyVersion, ...]:
    keys: list[KeyVersion] = []
    while page := session.keys.list(after=keys[-1] if keys else None, limit=_PAGE):
        keys += page
    return tuple(keys)
