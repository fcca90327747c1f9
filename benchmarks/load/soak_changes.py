# SPDX-License-Identifier: Apache-2.0
"""What operators change under load: API keys, key states and rules, from a process of their own."""

import time
from typing import Final

from attrs import define, field

from qpher_core.service import Qpher

__all__ = ["KEM", "MOVING", "TENANT", "Changes"]

TENANT: Final = "acme"
SIGNATURE: Final = "ML-DSA-65"

#: What is refused at times: a key name that is suspended, and an operation that rules deny.
MOVING: Final = "moving"
KEM: Final = "kem.encapsulate"

_DENYING: Final = '[{"rule": "deny", "actions": ["kem.encapsulate"]}]'
_SECONDS: Final = 0.2  # that a change lasts before it is taken back


@define
class Changes:
    """Changes what callers may do, and knows what must be refused.

    Attributes:
        current: id and secret of the API key that is good.
        revoked: id and secret of the one that was revoked last; the current one before that.
        refused: what must be refused now, each with a mark of its own: API keys by their
            secret, :data:`MOVING`, :data:`KEM`. It is here from the moment that the change has
            returned until one that takes it back begins.
    """

    kms: Qpher
    current: tuple[str, str] = field(init=False)
    revoked: tuple[str, str] = field(init=False)
    refused: dict[str, object] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.current = self.revoked = self._create()

    def _create(self) -> tuple[str, str]:
        key, secret = self.kms.api_keys.create(TENANT)
        return key.id, secret

    def revoke(self) -> None:
        """Let callers use another API key, and revoke the one they had."""
        old, self.current = self.current, self._create()
        self.kms.api_keys.revoke(TENANT, old[0])
        self.refused[old[1]] = object()
        self.revoked = old

    def suspend(self) -> None:
        """Suspend a key for a moment."""
        keys = self.kms.session(TENANT, actor="operator").keys
        keys.suspend(SIGNATURE, 1, name=MOVING)
        self._last(MOVING)
        keys.resume(SIGNATURE, 1, name=MOVING)

    def deny(self) -> None:
        """Deny an operation for a moment."""
        self.kms.policies.set(_DENYING, tenant=TENANT)
        self._last(KEM)
        self.kms.policies.set("[]", tenant=TENANT)

    def _last(self, what: str) -> None:
        self.refused[what] = object()
        time.sleep(_SECONDS)
        del self.refused[what]
