# SPDX-License-Identifier: Apache-2.0
"""The facts as a JSON document (docs/report.md)."""

from datetime import timedelta
from typing import Any

from qpher_core.algorithms import ALGORITHMS
from qpher_core.models import KeyVersion, Tenant, optional_rfc3339, rfc3339
from qpher_core.policy.profiles import PROFILES
from qpher_core.report.dates import MILESTONES
from qpher_core.report.facts import AGES, Facts, TenantFacts
from qpher_core.service_maintenance import ScheduledKey

__all__ = ["as_document"]


def as_document(facts: Facts) -> dict[str, Any]:
    """Return the report as a document of plain values."""
    return {
        "format": "qpher-report/1",
        "time": rfc3339(facts.time),
        "version": facts.version,
        "store": facts.store,
        "provider": facts.provider,
        "keys": [_key(facts, tenant, key) for tenant, key in facts.keys],
        "by_algorithm": {name: dict(row) for name, row in facts.counts.items()},
        "by_age": _ages(facts),
        "profiles": {profile: _profile(facts, profile) for profile in facts.profiles},
        "rotation": None if facts.schedule is None else [_due(key) for key in facts.schedule],
        "audit": [_audit(found) for found in facts.tenants],
        "protector": facts.protector
        and {
            "kek": facts.protector.kek_id,
            "records": dict(facts.protector.records),
            "pending": facts.protector.pending,
        },
    }


def _key(facts: Facts, tenant: Tenant, key: KeyVersion) -> dict[str, Any]:
    row = ALGORITHMS[key.algorithm]
    return {
        **_address(tenant, key),
        "state": str(key.state),
        "created_at": rfc3339(key.created_at),
        "changed_at": rfc3339(key.changed_at),
        "age_days": facts.age(key) // timedelta(days=1),
        "compromised_at": optional_rfc3339(key.compromised_at),
        "kind": str(row.kind),
        "category": row.category,
        "source": row.source,
        "profiles": [name for name in facts.profiles if key.algorithm in PROFILES[name]],
    }


def _address(tenant: Tenant, key: KeyVersion) -> dict[str, Any]:
    return {
        "tenant": tenant.name,
        "name": key.name,
        "algorithm": key.algorithm,
        "version": key.version,
    }


def _ages(facts: Facts) -> dict[str, int]:
    ages = {label: 0 for label, _ in AGES}
    for _, key in facts.in_use():
        ages[facts.age_class(key)] += 1
    return ages


def _profile(facts: Facts, profile: str) -> dict[str, Any]:
    return {
        "conforms": facts.conforms(profile),
        "algorithms": sorted(PROFILES[profile]),
        "outside": [
            {**_address(tenant, key), "state": str(key.state)}
            for tenant, key in facts.outside(profile)
        ],
        "dates": [
            {
                "date": milestone.day.isoformat(),
                "what": milestone.what,
                "source": milestone.source,
                "days_left": (milestone.day - facts.time.date()).days,
            }
            for milestone in MILESTONES[profile]
        ],
    }


def _due(scheduled: ScheduledKey) -> dict[str, Any]:
    key = scheduled.key
    return {
        "tenant": scheduled.tenant,
        "name": key.name,
        "algorithm": key.algorithm,
        "version": key.version,
        "standing": str(scheduled.due),
        "due_at": optional_rfc3339(scheduled.due_at),
        "uses": scheduled.uses,
        "max_uses": scheduled.max_uses,
    }


def _audit(found: TenantFacts) -> dict[str, Any]:
    anchor = found.anchor
    return {
        "tenant": found.tenant.name,
        "entries": found.audit.entries,
        "sound": found.audit.ok,
        "problem": found.audit.problem or None,
        "bad_seq": found.audit.bad_seq,
        "head": found.audit.head.hex(),
        "anchor": anchor and {"entries": anchor.size, "time": rfc3339(anchor.time)},
        "anchors_known": found.anchors_known,
        "unanchored": found.unanchored if found.anchors_known else None,
        "keys_known": found.keys_known,
    }
