# SPDX-License-Identifier: Apache-2.0
"""What a check found."""

import enum

from attrs import frozen

__all__ = ["Finding", "Standing", "ok", "problem", "warning"]


class Standing(enum.StrEnum):
    """How bad it is. Only a problem makes the exit status 1."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        advice: what to do; empty if it is well.
    """

    standing: Standing
    check: str
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Standing.OK, check, found)


def warning(check: str, found: str, advice: str) -> Finding:
    """Return a finding that someone should look at."""
    return Finding(Standing.WARNING, check, found, advice)


def problem(check: str, found: str, advice: str) -> Finding:
    """Return a finding that someone has to act on."""
    return Finding(Standing.PROBLEM, check, found, advice)
