# SPDX-License-Identifier: Apache-2.0
"""Plans: named sets of features and limits that an operator may sell. The data is in plans.toml."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from qpher_core.errors import ValidationError

__all__ = ["LIMITS", "PLANS", "Limits", "check_plan"]


@frozen
class Limits:
    """The most that a tenant may have; None is without limit.

    Attributes:
        calls: recorded operations in one calendar month, UTC.
        key_versions: key versions that exist and are not destroyed.
        api_keys: API keys that are valid.
        rate: requests to the HTTP API, such as ``10/second``.
    """

    calls: int | None = None
    key_versions: int | None = None
    api_keys: int | None = None
    rate: str | None = None


def _load() -> dict[str, dict[str, Any]]:
    text = files("qpher_core.policy").joinpath("plans.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


_DATA: Final = _load()

#: Plan name to its features.
PLANS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {name: frozenset(plan["features"]) for name, plan in _DATA.items()}
)

#: Plan name to its limits.
LIMITS: Final[Mapping[str, Limits]] = MappingProxyType(
    {
        name: Limits(
            plan.get("calls"), plan.get("key_versions"), plan.get("api_keys"), plan.get("rate")
        )
        for name, plan in _DATA.items()
    }
)


def check_plan(plan: object) -> str | None:
    """Return a plan name, or None for no plan."""
    if plan is None or (isinstance(plan, str) and plan in PLANS):
        return plan
    raise ValidationError(f"plan must be None or one of: {', '.join(PLANS)}", parameter="plan")
