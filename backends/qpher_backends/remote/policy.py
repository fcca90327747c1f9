# SPDX-License-Identifier: Apache-2.0
"""Policy that is kept and decided by a service elsewhere.

``policy="qpher+https://kms.example"`` asks the service there, as the tenant of the API key in the
environment variable ``QPHER_POLICY_API_KEY``. Its stored rules, or whatever engine it has, decide
on the requests of every tenant here. Only its explicit allow allows.
"""

import os
import uuid
from typing import Any, Final

from qpher_backends.policies.remote import request_document
from qpher_backends.remote.link import Link
from qpher_core.errors import PolicyUnavailable, QpherError, ValidationError
from qpher_core.models import Decision, PolicyRequest
from qpher_core.protocols import Store
from qpher_core.remote import RemoteSettings

__all__ = ["RemotePolicy", "open_policy"]

_API_KEY: Final = "QPHER_POLICY_API_KEY"
_DEADLINE: Final = 0.5  # seconds
_PREFIX: Final = "qpher+"

#: What the service there knows better: whose rules it asks is told by the API key.
_ITS_OWN: Final = frozenset({"tenant_id", "plan"})


class RemotePolicy:
    """Implements ``PolicyEngine``. Thread-safe; connections are pooled.

    Args:
        url: ``https://host[:port][/prefix]`` of the service.
        api_key: an API key there, with the scope ``policies``.
        settings: deadline and TLS; half a second where none are given.

    Raises:
        ValidationError: an argument is not one.
    """

    may_block = True

    def __init__(self, url: str, api_key: str, settings: RemoteSettings | None = None) -> None:
        self._link = Link(url, api_key, settings or RemoteSettings(deadline=_DEADLINE))

    def __repr__(self) -> str:
        return f"<RemotePolicy over {self._link!r}>"

    def decide(self, request: PolicyRequest) -> Decision:
        """Return the decision of the service.

        Raises:
            PolicyUnavailable: it gave none, or lets nobody with this API key ask.
        """
        members = request_document(request)
        body = {name: value for name, value in members.items() if name not in _ITS_OWN}
        problem = "?"
        try:
            return self._link.call("POST", "/policies/decide", _decision, body=body)
        except QpherError as error:
            problem = f"{error.code}: {error}"
        raise PolicyUnavailable(f"the policy service did not decide: {problem}")

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._link.close()


def _decision(answer: Any, _: uuid.UUID) -> Decision:
    return Decision(allow=answer.allow, rule=answer.rule, reason=answer.reason)


def open_policy(url: str, store: Store) -> RemotePolicy:
    """Open the policy of the service that a URL names; the entry point."""
    api_key = os.environ.get(_API_KEY)
    if api_key is None:
        raise ValidationError(f"{_API_KEY} must hold the API key for {url}", parameter="policy")
    try:
        return RemotePolicy(url.removeprefix(_PREFIX), api_key)
    except ValidationError as error:
        error.parameter = "policy"
        raise
