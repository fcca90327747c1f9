# SPDX-License-Identifier: Apache-2.0
"""The built-in policy engine: the service's rules, then the tenant's; the first denial wins."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from qpher_core._cache import BoundedCache
from qpher_core.errors import PolicyUnavailable, ValidationError
from qpher_core.models import Decision, PolicyDocument, PolicyRequest
from qpher_core.policy.documents import parse_rules
from qpher_core.policy.rules import Rule
from qpher_core.policy.usage import StoreUsage, Usage
from qpher_core.protocols import PolicyRecords, Store

__all__ = ["DEFAULT_RULES", "RuleChain", "Verdict", "open_policy"]

#: The service's document in a new store.
DEFAULT_RULES: Final = '[{"rule":"plan"},{"rule":"quota"}]'

_PARSED_DOCUMENTS: Final = 1024


@frozen
class Verdict:
    """What one rule of a chain says of a request.

    Attributes:
        document: ``service`` or ``tenant``.
        index: the rule's place in its document, from 0.
        rule: the type of the rule.
        reason: why it denies; None where it passes.
    """

    document: str
    index: int
    rule: str
    reason: str | None


class RuleChain:
    """Evaluates stored documents. A store without a service document denies everything."""

    may_block = False

    def __init__(self, records: PolicyRecords, usage: Usage) -> None:
        self._records = records
        self._usage = usage
        self._parsed: BoundedCache[tuple[uuid.UUID | None, int], tuple[Rule, ...]] = BoundedCache(
            _PARSED_DOCUMENTS
        )

    def decide(self, request: PolicyRequest) -> Decision:
        """Return the decision of the first rule that denies, or an allowance."""
        if not self._service():
            return Decision(allow=False, rule="empty", reason="the service has no rules")
        for verdict in self._verdicts(request):
            if verdict.reason is not None:
                return Decision(allow=False, rule=verdict.rule, reason=verdict.reason)
        return Decision(allow=True, rule="chain", reason="no rule denies")

    def explain(self, request: PolicyRequest) -> Sequence[Verdict]:
        """Return what every rule says, also those behind the first denial."""
        return list(self._verdicts(request))

    def _verdicts(self, request: PolicyRequest) -> Iterator[Verdict]:
        tenant = self._records.get(request.tenant_id)
        documents = (("service", self._service()), ("tenant", self._rules(tenant)))
        for document, rules in documents:
            for index, rule in enumerate(rules):
                yield Verdict(document, index, rule.name, rule.denies(request, self._usage))

    def _service(self) -> tuple[Rule, ...]:
        return self._rules(self._records.get(None))

    def _rules(self, document: PolicyDocument | None) -> tuple[Rule, ...]:
        if document is None:
            return ()

        def parse() -> tuple[Rule, ...]:
            try:
                return parse_rules(document.rules)
            except ValidationError as error:
                raise PolicyUnavailable(f"a stored policy document is broken: {error}") from error

        return self._parsed.get((document.tenant_id, document.revision), parse)


def open_policy(url: str, store: Store) -> RuleChain:
    """Open ``rules:``, the rule chain over the store's own documents."""
    if url != "rules:":
        raise ValidationError("policy must be 'rules:' or another engine", parameter="policy")
    return RuleChain(store.policies, StoreUsage(store.keys, store.audit))
