# SPDX-License-Identifier: Apache-2.0
"""Whether the patterns of rules name anything that there is.

A rule that denies ``keys.destory``, or ``Kyber768``, which requests know as ML-KEM-768, protects
nothing. So this is asked when rules are set or checked; those that are stored are taken as they
are, or one name less in a later version would stop a service.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qpher_core.algorithms import ALGORITHMS, find
from qpher_core.errors import ValidationError
from qpher_core.operations import OPERATIONS
from qpher_core.policy.documents import parse_rules
from qpher_core.policy.match import Match, matches
from qpher_core.policy.rules import Rule

__all__ = ["check_rules"]

_KNOWN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "actions": tuple(OPERATIONS),
        "algorithms": tuple(ALGORITHMS),
        "scopes": tuple(sorted({row.scope for row in OPERATIONS.values()})),
    }
)


def check_rules(document: object) -> tuple[Rule, ...]:
    """Return the rules of a document whose every pattern can match.

    Raises:
        ValidationError: as ``parse_rules``, or for a pattern that matches nothing.
    """
    return parse_rules(document, also=_check_patterns)


def _check_patterns(rule: Rule, where: str) -> None:
    match = getattr(rule, "match", None)
    if not isinstance(match, Match):
        return
    for member, known in _KNOWN.items():
        for pattern in getattr(match, member) or ():
            if not matches([pattern], known):
                raise ValidationError(
                    f"{where}.{member} has {pattern!r}{_meant(pattern)}, which matches none of: "
                    f"{', '.join(known)}",
                    parameter=f"{where}.{member}",
                )


def _meant(pattern: str) -> str:
    """Return the canonical name of an algorithm that is given by another."""
    try:
        return f" (its canonical name is {find(pattern).name})"
    except ValidationError:
        return ""
