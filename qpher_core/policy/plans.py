# SPDX-License-Identifier: Apache-2.0
"""Plans: named sets of features that an operator may sell. The data is in plans.toml."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from qpher_core.errors import ValidationError

__all__ = ["PLANS", "check_plan"]


def _load() -> Mapping[str, frozenset[str]]:
    text = files("qpher_core.policy").joinpath("plans.toml").read_text(encoding="utf-8")
    return MappingProxyType(
        {name: frozenset(plan["features"]) for name, plan in tomllib.loads(text).items()}
    )


#: Plan name to its features.
PLANS: Final = _load()


def check_plan(plan: object) -> str | None:
    """Return a plan name, or None for no plan."""
    if plan is None or (isinstance(plan, str) and plan in PLANS):
        return plan
    raise ValidationError(f"plan must be None or one of: {', '.join(PLANS)}", parameter="plan")
