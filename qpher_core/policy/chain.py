# SPDX-License-Identifier: Apache-2.0
"""The built-in policy engine: the service's rules, then the tenant's; the first denial wins."""

import uuid
from typing import Final

from qpher_core._cache import BoundedCache
from qpher_core.errors import PolicyUnavailable, ValidationError
from qpher_core.models import Decision, PolicyDocument, PolicyRequest
from qpher_core.policy.rules import Rule, parse_rules
from qpher_core.protocols import PolicyRecords

__all__ = ["DEFAULT_RULES", "RuleChain", "open_policy"]

#: The service's document in a new store.
DEFAULT_RULES: Final = '[{"rule":"plan"}]'

_PARSED_DOCUMENTS: Final = 1024


class RuleChain:
    """Evaluates stored documents. A store without a service document denies everything."""

    may_block = False

    def __init__(self, records: PolicyRecords) -> None:
        self._records = records
        self._parsed: BoundedCache[tuple[uuid.UUID | None, int], tuple[Rule, ...]] = BoundedCache(
            _PARSED_DOCUMENTS
        )

    def decide(self, request: PolicyRequest) -> Decision:
        """Return the decision of the first rule that denies, or an allowance."""
        service = self._records.get(None)
        if service is None or not (rules := self._rules(service)):
            return Decision(allow=False, rule="empty", reason="the service has no rules")
        tenant = self._records.get(request.tenant_id)
        for rule in rules + (self._rules(tenant) if tenant else ()):
            reason = rule.denies(request)
            if reason is not None:
                return Decision(allow=False, rule=rule.name, reason=reason)
        return Decision(allow=True, rule="chain", reason="no rule denies")

    def _rules(self, document: PolicyDocument) -> tuple[Rule, ...]:
        def parse() -> tuple[Rule, ...]:
            try:
                return parse_rules(document.rules)
            except ValidationError as error:
                raise PolicyUnavailable(f"a stored policy document is broken: {error}") from error

        return self._parsed.get((document.tenant_id, document.revision), parse)


def open_policy(url: str, records: PolicyRecords) -> RuleChain:
    """Open ``rules:``, the rule chain over the store's own documents."""
    if url != "rules:":
        raise ValidationError("policy must be 'rules:' or another engine", parameter="policy")
    return RuleChain(records)
