# SPDX-License-Identifier: Apache-2.0
"""What in a report needs someone's attention, the worst first, and what to do."""

import enum
from collections.abc import Iterator, Sequence

from attrs import frozen

from qpher_core.lifecycle import KeyState
from qpher_core.report.dates import MILESTONES
from qpher_core.report.facts import Facts
from qpher_core.service_maintenance import Due

__all__ = ["Level", "Point", "attention"]


class Level(enum.StrEnum):
    """How things stand."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"

    @property
    def word(self) -> str:
        """As people say it."""
        return {"good": "good", "warn": "look at", "bad": "act"}[self]


@frozen
class Point:
    """One thing, and what to do about it."""

    level: Level
    text: str
    advice: str


def attention(facts: Facts) -> Sequence[Point]:
    """Return what needs attention, the worst first."""
    parts = (_logs, _keys, _tenants, _rotation, _profiles, _kek)
    points = [point for part in parts for point in part(facts)]
    return sorted(points, key=lambda point: point.level is not Level.BAD)


def _logs(facts: Facts) -> Iterator[Point]:
    for found in facts.tenants:
        name, report = found.tenant.name, found.audit
        if not report.ok:
            text = (
                f"The audit log of {name} is not sound: entry {report.bad_seq}, {report.problem}."
            )
            yield Point(Level.BAD, text, "Keep a copy of the store, and compare with a backup.")
        elif found.anchors_known and found.anchor is None and report.entries:
            text = f"The audit log of {name} was never anchored."
            yield Point(
                Level.WARN, text, "`qpher-core audit export` anchors it; so does a running service."
            )


def _keys(facts: Facts) -> Iterator[Point]:
    compromised = [key for _, key in facts.keys if key.state is KeyState.COMPROMISED]
    if compromised:
        text = f"{_versions(len(compromised))} compromised and still there."
        yield Point(Level.BAD, text, "Move what they protect to other keys, then destroy them.")
    suspended = [key for _, key in facts.keys if key.state is KeyState.SUSPENDED]
    if suspended:
        text = f"{_versions(len(suspended))} suspended."
        yield Point(Level.WARN, text, "Resume or retire them.")


def _tenants(facts: Facts) -> Iterator[Point]:
    for found in facts.tenants:
        if not found.keys_known:
            text = f"{found.tenant.name} is suspended: nobody uses its keys; they are not listed."
            yield Point(Level.WARN, text, "`qpher-core tenant resume` lets them be listed.")


def _rotation(facts: Facts) -> Iterator[Point]:
    for found in facts.unread:
        text = f"The rotation schedule of {found.tenant} is unknown: {found.problem}."
        yield Point(Level.BAD, text, "Restore its rules, keys and log from a backup of the store.")
    due = [key.due for key in facts.schedule or ()]
    overdue, soon = due.count(Due.OVERDUE) + due.count(Due.FAILED), due.count(Due.SOON)
    if overdue:
        text = f"{_keys_are(overdue)} due for rotation."
        yield Point(Level.BAD, text, "`qpher-core maintain` rotates them.")
    if soon:
        yield Point(
            Level.WARN, f"{_keys_are(soon)} due soon.", "`qpher-core maintain` will see to it."
        )
    if facts.schedule is not None and not (due or facts.unread) and facts.in_use():
        text = "No rotation rule matches any key."
        yield Point(Level.WARN, text, "docs/policy.md says how to set one.")


def _profiles(facts: Facts) -> Iterator[Point]:
    for profile in facts.profiles:
        outside = sum(key.state is KeyState.ACTIVE for _, key in facts.outside(profile))
        ahead = [m for m in MILESTONES[profile] if m.day > facts.time.date()]
        if outside and ahead:
            left = (ahead[0].day - facts.time.date()).days
            text = f"{_keys_are(outside, ' in use')} outside profile {profile}."
            advice = f"Where it applies: {ahead[0].day} is {left:,} days away: {ahead[0].what}."
            yield Point(Level.WARN, text, advice)


def _versions(count: int) -> str:
    return "1 key version is" if count == 1 else f"{count:,} key versions are"


def _keys_are(count: int, which: str = "") -> str:
    return f"1 key{which} is" if count == 1 else f"{count:,} keys{which} are"


def _kek(facts: Facts) -> Iterator[Point]:
    if facts.protector is not None and facts.protector.pending:
        text = f"{facts.protector.pending} records are still under a former key encryption key."
        yield Point(Level.WARN, text, "`qpher-core protector rewrap` moves them.")
