# SPDX-License-Identifier: Apache-2.0
"""The rules that a chain is made of, and their JSON form.

A document is a JSON array of objects, each with a ``rule`` member that names its type:

    [{"rule": "plan"},
     {"rule": "profile", "profile": "cnsa2"},
     {"rule": "deny", "actions": ["keys.destroy"], "actors": ["intern"]},
     {"rule": "only", "key_names": ["payments"]},
     {"rule": "payload", "max_bytes": 1048576}]

A rule denies or passes; none allows by itself.
"""

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from attrs import frozen

from qpher_core.errors import ValidationError
from qpher_core.models import PolicyRequest
from qpher_core.policy.plans import PLANS
from qpher_core.policy.profiles import PROFILES

__all__ = ["Rule", "parse_rules"]

_LONGEST_DOCUMENT: Final = 1 << 20


class Rule(Protocol):
    """One rule."""

    @property
    def name(self) -> str:
        """Name in decisions."""

    def denies(self, request: PolicyRequest) -> str | None:
        """Return the reason for a denial, or None to pass."""


@frozen
class PlanRule:
    """Denies what the tenant's plan does not include; passes everything without a plan."""

    name: str = "plan"

    def denies(self, request: PolicyRequest) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.plan is None:
            return None
        lacking = sorted(request.features - PLANS[request.plan])
        if not lacking:
            return None
        return f"plan {request.plan!r} does not include: {', '.join(lacking)}"


@frozen
class ProfileRule:
    """Denies every operation on algorithms outside a profile, processing what exists included."""

    profile: str
    name: str = "profile"

    def denies(self, request: PolicyRequest) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.algorithm is None or request.algorithm in PROFILES[self.profile]:
            return None
        return f"profile {self.profile!r} does not admit {request.algorithm}"


@frozen
class Match:
    """Shell-style patterns for parts of a request. An absent part matches every request."""

    actions: tuple[str, ...] | None
    actors: tuple[str, ...] | None
    algorithms: tuple[str, ...] | None
    key_names: tuple[str, ...] | None

    def parts(
        self, request: PolicyRequest
    ) -> tuple[tuple[tuple[str, ...] | None, str | None], ...]:
        """Return (patterns, value) for each part."""
        return (
            (self.actions, request.action),
            (self.actors, request.actor),
            (self.algorithms, request.algorithm),
            (self.key_names, request.key_name),
        )


def _matches(patterns: tuple[str, ...] | None, value: str | None) -> bool:
    if patterns is None:
        return True
    return value is not None and any(fnmatchcase(value, pattern) for pattern in patterns)


@frozen
class DenyRule:
    """Denies requests that match in every part."""

    match: Match
    name: str = "deny"

    def denies(self, request: PolicyRequest) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if all(_matches(patterns, value) for patterns, value in self.match.parts(request)):
            return f"a rule denies {request.action} to {request.actor!r}"
        return None


@frozen
class OnlyRule:
    """Denies requests that differ in any part; a request without that part passes."""

    match: Match
    name: str = "only"

    def denies(self, request: PolicyRequest) -> str | None:
        """Return the reason for a denial, or None to pass."""
        for patterns, value in self.match.parts(request):
            if value is not None and not _matches(patterns, value):
                return f"a rule limits requests to {', '.join(patterns or ())}"
        return None


@frozen
class PayloadRule:
    """Denies payloads above a size."""

    max_bytes: int
    name: str = "payload"

    def denies(self, request: PolicyRequest) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.payload_bytes <= self.max_bytes:
            return None
        return f"the payload has more than {self.max_bytes} bytes"


def parse_rules(document: object) -> tuple[Rule, ...]:
    """Return the rules of a JSON document.

    Raises:
        ValidationError: the document is not one; the message names the rule by its index.
    """
    if not isinstance(document, str) or len(document) > _LONGEST_DOCUMENT:
        raise ValidationError("rules must be JSON text of at most 1 MiB", parameter="rules")
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"rules are not JSON: {error}", parameter="rules") from None
    if not isinstance(parsed, list):
        raise ValidationError("rules must be a JSON array", parameter="rules")
    return tuple(_parse_rule(item, f"rules[{index}]") for index, item in enumerate(parsed))


def _parse_rule(item: object, where: str) -> Rule:
    if not isinstance(item, dict):
        raise ValidationError(f"{where} must be an object", parameter=where)
    kind = item.get("rule")
    parser = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        raise ValidationError(
            f"{where}.rule must be one of: {', '.join(_PARSERS)}", parameter=f"{where}.rule"
        )
    members = {name: value for name, value in item.items() if name != "rule"}
    return parser(members, where)


def _plan(members: Mapping[str, Any], where: str) -> Rule:
    _only_members(members, where, ())
    return PlanRule()


def _profile(members: Mapping[str, Any], where: str) -> Rule:
    _only_members(members, where, ("profile",))
    profile = members.get("profile")
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ValidationError(
            f"{where}.profile must be one of: {', '.join(PROFILES)}", parameter=f"{where}.profile"
        )
    return ProfileRule(profile)


def _payload(members: Mapping[str, Any], where: str) -> Rule:
    _only_members(members, where, ("max_bytes",))
    limit = members.get("max_bytes")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ValidationError(
            f"{where}.max_bytes must be an integer from 0", parameter=f"{where}.max_bytes"
        )
    return PayloadRule(limit)


_MATCH_MEMBERS: Final = ("actions", "actors", "algorithms", "key_names")


def _match(members: Mapping[str, Any], where: str) -> Match:
    _only_members(members, where, _MATCH_MEMBERS)
    if not members:
        raise ValidationError(
            f"{where} must have one of: {', '.join(_MATCH_MEMBERS)}", parameter=where
        )
    parts = (
        _patterns(members[name], f"{where}.{name}") if name in members else None
        for name in _MATCH_MEMBERS
    )
    return Match(*parts)


def _patterns(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise ValidationError(f"{where} must be an array of text, not empty", parameter=where)
    return tuple(value)


def _only_members(members: Mapping[str, Any], where: str, allowed: tuple[str, ...]) -> None:
    for name in members:
        if name not in allowed:
            raise ValidationError(
                f"{where} has an unknown member {name!r}; allowed: {', '.join(allowed) or 'none'}",
                parameter=where,
            )


_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Rule]]] = {
    "plan": _plan,
    "profile": _profile,
    "deny": lambda members, where: DenyRule(_match(members, where)),
    "only": lambda members, where: OnlyRule(_match(members, where)),
    "payload": _payload,
}
