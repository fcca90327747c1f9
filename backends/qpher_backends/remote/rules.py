# SPDX-License-Identifier: Apache-2.0
"""Rules of a service elsewhere, for an API key that may administer them."""

import uuid
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from qpher_backends.remote.link import Link
from qpher_backends.remote.owners import id_of
from qpher_core.errors import NotFound, ValidationError
from qpher_core.models import OPERATOR, Decision, PolicyDocument, rfc3339
from qpher_core.policy.chain import Verdict
from qpher_core.policy.documents import diff_documents
from qpher_core.service_policies import Explanation
from qpher_core.validation import check_moment

__all__ = ["RemotePolicies"]

_POLICY: Final = "/admin/tenants/{tenant_id}/policy"


@frozen
class RemotePolicies:
    """The stored rules of a service elsewhere, and what its policy would decide."""

    _link: Link

    def get(self, tenant: str | uuid.UUID | None = None) -> PolicyDocument | None:
        """Return the rules that count, of a tenant or of the service; None if it has none."""
        try:
            return self._read(tenant, None)
        except NotFound:
            return None

    def revision(self, number: int, tenant: str | uuid.UUID | None = None) -> PolicyDocument:
        """Return one revision of the rules."""
        return self._read(tenant, number)

    def set(
        self, rules: str, *, tenant: str | uuid.UUID | None = None, actor: str | None = None
    ) -> PolicyDocument:
        """Replace the rules, from the next operation on."""
        if actor is not None:
            raise ValidationError("actor must be left out: it is the API key", parameter="actor")
        owner = self._owner(tenant)
        return self._link.call(
            "PUT",
            _POLICY,
            lambda answer, _: PolicyDocument(owner, answer.revision, answer.rules),
            values={"tenant_id": owner or "service"},
            body={"rules": rules},
        )

    def diff(self, old: int, new: int, tenant: str | uuid.UUID | None = None) -> str:
        """Return the difference of two revisions as a unified diff, a rule to a line."""
        first, second = (self.revision(number, tenant).rules for number in (old, new))
        return diff_documents(first, second, names=(f"revision {old}", f"revision {new}"))

    def explain(
        self,
        tenant: str | uuid.UUID,
        action: str,
        *,
        actor: str = OPERATOR,
        algorithm: str | None = None,
        key_name: str | None = None,
        key_version: int | None = None,
        scopes: frozenset[str] | None = None,
        payload_bytes: int = 0,
        source: str | None = None,
        time: datetime | None = None,
    ) -> Explanation:
        """Say what policy would decide on a request, and which rule why."""

        def read(answer: Any, _: uuid.UUID) -> Explanation:
            decision = Decision(answer.allow, answer.rule, answer.reason)
            said = [Verdict(v.document, v.index, v.rule, v.reason) for v in answer.verdicts]
            return Explanation(decision, said)

        body = {
            "action": action,
            "actor": actor,
            "algorithm": algorithm,
            "key_name": key_name,
            "key_version": key_version,
            "scopes": None if scopes is None else sorted(scopes),
            "payload_bytes": payload_bytes,
            "source": source,
            "time": None if time is None else rfc3339(check_moment(time, "time").astimezone(UTC)),
        }
        owner = id_of(self._link, tenant)
        return self._link.call(
            "POST", _POLICY + "/explain", read, values={"tenant_id": owner}, body=body
        )

    def _read(self, tenant: str | uuid.UUID | None, number: int | None) -> PolicyDocument:
        owner = self._owner(tenant)
        return self._link.call(
            "GET",
            _POLICY,
            lambda answer, _: PolicyDocument(owner, answer.revision, answer.rules),
            values={"tenant_id": owner or "service", "revision": number},
        )

    def _owner(self, tenant: str | uuid.UUID | None) -> uuid.UUID | None:
        return None if tenant is None else id_of(self._link, tenant)
