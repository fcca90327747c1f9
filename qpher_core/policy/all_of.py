# SPDX-License-Identifier: Apache-2.0
"""Several policy engines as one: all must allow, the first denial wins."""

from collections.abc import Sequence

from qpher_core.errors import PolicyUnavailable
from qpher_core.models import Decision, PolicyRequest
from qpher_core.protocols import PolicyEngine

__all__ = ["AllOf", "close_engine"]


class AllOf:
    """Asks engines in order, such as the rule chain for plans and quotas and then another."""

    def __init__(self, engines: Sequence[PolicyEngine]) -> None:
        self.engines = tuple(engines)
        self.may_block = any(getattr(engine, "may_block", True) for engine in self.engines)

    def decide(self, request: PolicyRequest) -> Decision:
        """Return the first answer that does not allow, or the last one's allowance."""
        decision = Decision(allow=False, rule="empty", reason="there is no policy engine")
        for engine in self.engines:
            decision = engine.decide(request)
            if not isinstance(decision, Decision) or not isinstance(decision.allow, bool):
                raise PolicyUnavailable("the policy engine did not answer with a decision")
            if decision.allow is not True:
                return decision
        return decision

    def close(self) -> None:
        """Close those engines that hold something. Idempotent."""
        for engine in self.engines:
            close_engine(engine)


def close_engine(engine: PolicyEngine) -> None:
    """Close an engine that holds connections or the like."""
    close = getattr(engine, "close", None)
    if close is not None:
        close()
