# SPDX-License-Identifier: Apache-2.0
"""The built-in policy engine: the service's rules, then the tenant's; the first denial wins."""

import functools
import uuid
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from qpher_core.errors import PolicyUnavailable, ValidationError
from qpher_core.models import Decision, PolicyRequest
from qpher_core.policy.documents import parse_rules
from qpher_core.policy.rules import Rule
from qpher_core.policy.usage import StoreUsage, Usage
from qpher_core.protocols import PolicyRecords, Store

__all__ = ["DEFAULT_RULES", "RuleChain", "Verdict", "open_policy"]

#: The service's document in a new store.
DEFAULT_RULES: Final = '[{"rule":"plan"},{"rule":"quota"}]'

_PARSED_DOCUMENTS: Final = 1024
_ALLOWED: Final = Decision(allow=True, rule="chain", reason="no rule denies")


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

    def decide(self, request: PolicyRequest) -> Decision:
        """Return the decision of the first rule that denies, or an allowance."""
        service = self._rules(None)
        if not service:
            return Decision(allow=False, rule="empty", reason="the service has no rules")
        for rules in (service, self._rules(request.tenant_id)):
            for rule in rules:
                reason = rule.denies(request, self._usage)
                if reason is not None:
                    return Decision(allow=False, rule=rule.name, reason=reason)
        return _ALLOWED

    def explain(self, request: PolicyRequest) -> Sequence[Verdict]:
        """Return what every rule says, also those behind the first denial."""
        documents = (("service", self._rules(None)), ("tenant", self._rules(request.tenant_id)))
        return [
            Verdict(document, index, rule.name, rule.denies(request, self._usage))
            for document, rules in documents
            for index, rule in enumerate(rules)
        ]

    def _rules(self, tenant_id: uuid.UUID | None) -> tuple[Rule, ...]:
        document = self._records.get(tenant_id)
        if document is None:
            return ()
        try:
            return _parsed(document.rules)
        except ValidationError as error:
            raise PolicyUnavailable(f"a stored policy document is broken: {error}") from error


#: Parses a document; equal texts are parsed once.
_parsed: Final = functools.lru_cache(_PARSED_DOCUMENTS)(parse_rules)


def open_policy(url: str, store: Store) -> RuleChain:
    """Open ``rules:``, the rule chain over the store's own documents."""
    if url != "rules:":
        raise ValidationError("policy must be 'rules:' or another engine", parameter="policy")
    return RuleChain(store.policies, StoreUsage(store.keys, store.audit, store.api_keys))
