# SPDX-License-Identifier: Apache-2.0
"""Policy engines."""

from typing import Protocol

from qpher_core.models import Decision, PolicyRequest

__all__ = ["PolicyEngine"]


class PolicyEngine(Protocol):
    """Decides whether an operation may happen. Thread-safe.

    An engine that may block (network, disk, foreign code) leaves ``may_block`` unset or True
    and is called with a deadline; only one that answers from memory sets it to False. Then one
    answer may be for several calls that are made at the same time and differ in nothing that it
    is told, so it must not count what it is asked.
    """

    def decide(self, request: PolicyRequest) -> Decision:
        """Return a decision. Any exception means that the engine cannot answer."""
