# SPDX-License-Identifier: Apache-2.0
"""The rules that a chain is made of. A rule denies or passes; none allows by itself."""

from datetime import time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from attrs import frozen

from qpher_core.lifecycle import PROCESS
from qpher_core.models import PolicyRequest
from qpher_core.operations import OPERATIONS, Recording
from qpher_core.policy.match import Match, matches
from qpher_core.policy.plans import LIMITS, PLANS, Limits
from qpher_core.policy.profiles import PROFILES
from qpher_core.policy.usage import Usage

__all__ = [
    "DAYS",
    "DenyRule",
    "HoursRule",
    "NetworksRule",
    "OnlyRule",
    "PayloadRule",
    "PlanRule",
    "ProfileRule",
    "QuotaRule",
    "RotationRule",
    "Rule",
]

#: Days of a week, from Monday, as documents name them.
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: Operations that make a key version.
_MAKE_KEYS: Final = frozenset({"keys.generate", "keys.rotate", "keys.import"})

#: Operations that new use of an algorithm does not include: reading, processing what exists, and
#: bringing keys out of use.
_LEGACY: Final = (
    frozenset(
        row.action
        for row in OPERATIONS.values()
        if row.states == PROCESS or row.recording is Recording.REFUSALS
    )
    | {"keys.suspend", "keys.retire", "keys.archive", "keys.restore", "keys.compromise"}
    | {"keys.destroy"}
)


_UNLIMITED: Final = Limits()


class Rule(Protocol):
    """One rule."""

    @property
    def name(self) -> str:
        """Name in documents and decisions."""

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""


@frozen
class PlanRule:
    """Denies what the tenant's plan does not include; passes everything without a plan."""

    name: str = "plan"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.plan is None:
            return None
        lacking = sorted(request.features - PLANS[request.plan])
        if not lacking:
            return None
        return f"plan {request.plan!r} does not include: {', '.join(lacking)}"


@frozen
class QuotaRule:
    """Denies what goes beyond limits: those given, or those of the tenant's plan.

    Concurrent calls are decided before they are recorded: as many as are in flight may go beyond
    a limit.
    """

    limits: Limits | None
    name: str = "quota"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        limits = self.limits or (_UNLIMITED if request.plan is None else LIMITS[request.plan])
        if limits.calls is not None and usage.calls(request.tenant_id, request.time) >= (
            limits.calls
        ):
            return f"the month's {limits.calls} calls are used up"
        if (
            limits.key_versions is not None
            and request.action in _MAKE_KEYS
            and usage.key_versions(request.tenant_id) >= limits.key_versions
        ):
            return f"the tenant has its {limits.key_versions} key versions"
        return self._denies_api_key(request, usage)

    def _denies_api_key(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Count API keys against a limit that is given; a plan's is held by creating them."""
        most = None if self.limits is None else self.limits.api_keys
        if most is None or request.action != "api_keys.create":
            return None
        if usage.api_keys(request.tenant_id, request.time) < most:
            return None
        return f"the tenant has its {most} API keys"


@frozen
class ProfileRule:
    """Denies new use of algorithms outside a profile: making keys, and protecting with them.

    What exists may be processed and brought out of use, or nobody could move to the profile;
    ``processing`` false denies that too.
    """

    profile: str
    processing: bool = True
    name: str = "profile"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.algorithm is None or request.algorithm in PROFILES[self.profile]:
            return None
        if self.processing and request.action in _LEGACY:
            return None
        return f"profile {self.profile!r} does not admit {request.algorithm}"


@frozen
class DenyRule:
    """Denies requests that match in every part."""

    match: Match
    name: str = "deny"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if all(matches(patterns, values) for patterns, values in self.match.parts(request)):
            return f"a rule denies {request.action} to {request.actor!r}"
        return None


@frozen
class OnlyRule:
    """Denies requests that differ in any part; a request without that part passes."""

    match: Match
    name: str = "only"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        for patterns, values in self.match.parts(request):
            if values and not matches(patterns, values):
                return f"a rule limits requests to {', '.join(patterns)}"
        return None


@frozen
class PayloadRule:
    """Denies payloads above a size."""

    max_bytes: int
    name: str = "payload"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.payload_bytes <= self.max_bytes:
            return None
        return f"the payload has more than {self.max_bytes} bytes"


@frozen
class HoursRule:
    """Denies requests outside a daily window, which may pass midnight, on some days.

    The days are those on which a window begins.
    """

    start: time
    end: time
    days: frozenset[str]
    zone: ZoneInfo
    name: str = "hours"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        local = request.time.astimezone(self.zone)
        moment, today = local.time(), local.weekday()
        if self.start < self.end:
            inside = self.start <= moment < self.end and DAYS[today] in self.days
        elif moment >= self.start:
            inside = DAYS[today] in self.days
        else:
            inside = moment < self.end and DAYS[today - 1] in self.days
        if inside:
            return None
        return f"a rule limits requests to {self.start:%H:%M}-{self.end:%H:%M} {self.zone.key}"


@frozen
class NetworksRule:
    """Denies requests from elsewhere than some networks, and those whose source is unknown."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    name: str = "networks"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Return the reason for a denial, or None to pass."""
        if request.source is None:
            return "a rule limits source networks, and the request has no source address"
        try:
            address = ip_address(request.source)
        except ValueError:
            return "a rule limits source networks, and the source is not an address"
        mapped = getattr(address, "ipv4_mapped", None)
        if any((mapped or address) in network for network in self.networks):
            return None
        return "a rule limits requests to other source networks"


@frozen
class RotationRule:
    """Says when keys are due to be rotated (``kms.maintain``); denies nothing.

    Attributes:
        match: which keys, by name and algorithm.
        max_age: how old an active version may become.
        max_uses: how often it may protect: encrypt, encapsulate, wrap, sign.
        warn: how long before its age is reached it counts as due soon.
    """

    match: Match
    max_age: timedelta | None
    max_uses: int | None
    warn: timedelta
    name: str = "rotation"

    def denies(self, request: PolicyRequest, usage: Usage) -> str | None:
        """Pass."""
        return None
