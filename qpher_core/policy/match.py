# SPDX-License-Identifier: Apache-2.0
"""Patterns for the parts of a request, which ``deny`` and ``only`` share."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from attrs import fields, frozen

from qpher_core.models import PolicyRequest

__all__ = ["MATCH_MEMBERS", "Match", "Patterns", "matches"]

#: Shell-style patterns; one that matches is enough.
Patterns = tuple[str, ...]


@frozen
class Match:
    """Patterns for parts of a request. An absent part matches every request."""

    actions: Patterns | None = None
    actors: Patterns | None = None
    algorithms: Patterns | None = None
    key_names: Patterns | None = None
    scopes: Patterns | None = None

    def parts(self, request: PolicyRequest) -> Iterator[tuple[Patterns, tuple[str, ...]]]:
        """Yield (patterns, the request's values) for each part that is given."""
        every = (
            (self.actions, _one(request.action)),
            (self.actors, _one(request.actor)),
            (self.algorithms, _one(request.algorithm)),
            (self.key_names, _one(request.key_name)),
            (self.scopes, tuple(sorted(request.scopes or ()))),
        )
        return ((patterns, values) for patterns, values in every if patterns is not None)


#: Names of the parts, as documents have them.
MATCH_MEMBERS = tuple(field.name for field in fields(Match))


def matches(patterns: Iterable[str], values: Iterable[str]) -> bool:
    """Return whether any value matches any pattern."""
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)
