# SPDX-License-Identifier: Apache-2.0
"""The table of operations: for each, its permission, the key states that allow it, its record.

The pipeline takes everything that differs between operations from here, and a test walks it.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from qpher_core.algorithms import Kind
from qpher_core.lifecycle import PROCESS, PROTECT, TRANSITIONS, KeyState

__all__ = ["OPERATIONS", "Operation", "Recording"]


class Recording(enum.Enum):
    """When an operation leaves an audit entry."""

    ALWAYS = "always"
    #: Reads that release only public data record when they are refused; recording each success
    #: would cost a durable write and bury what matters.
    REFUSALS = "refusals"


_ANY_STATE: Final = frozenset(KeyState)


@frozen
class Operation:
    """One row.

    Attributes:
        action: name in policies and audit entries.
        scope: scope that an API key needs; ``admin`` operations belong to whoever holds the
            service itself. Policy is asked for them only when the holder is remote.
        features: plan features that it uses; an algorithm may add ``hybrid``.
        kind: the kind of algorithm that it works with, if it works with one.
        states: key states that allow it; empty where no single key is addressed.
        accepts_compromised: whether ``accept_compromised=True`` adds that state.
        recording: when it leaves an audit entry.
        content: what the entry's content digest covers.
    """

    action: str
    scope: str
    features: frozenset[str]
    kind: Kind | None = None
    states: frozenset[KeyState] = frozenset()
    accepts_compromised: bool = False
    recording: Recording = Recording.ALWAYS
    content: str = ""

    @property
    def administrative(self) -> bool:
        """Whether the scope ``admin`` includes it."""
        return self.scope in {"admin", "api_keys", "policies"}


def _kem(action: str, states: frozenset[KeyState], content: str, *, lax: bool = False) -> Operation:
    features = frozenset({"kem"})
    return Operation(f"kem.{action}", "kem", features, Kind.KEM, states, lax, content=content)


def _signature(
    action: str, states: frozenset[KeyState], content: str, *, lax: bool = False
) -> Operation:
    return Operation(
        f"signatures.{action}",
        "signatures",
        frozenset({"signatures"}),
        Kind.SIGNATURE,
        states,
        lax,
        content=content,
    )


def _transition(
    action: str, target: KeyState, *features: str, states: frozenset[KeyState] = _ANY_STATE
) -> Operation:
    sources = frozenset(s for s, targets in TRANSITIONS.items() if target in targets)
    return Operation(
        f"keys.{action}",
        "keys",
        frozenset(features),
        states=sources & states,
        content="public key",
    )


def _read(action: str, scope: str, *features: str) -> Operation:
    return Operation(action, scope, frozenset(features), recording=Recording.REFUSALS)


def _admin(action: str, content: str) -> Operation:
    return Operation(action, "admin", frozenset(), content=content)


def _own(action: str, content: str) -> Operation:
    """Return a row of what a tenant may do for itself, and an administrator for every tenant."""
    return Operation(action, "api_keys", frozenset(), content=content)


_ROWS: Final = (
    Operation("keys.generate", "keys", frozenset(), content="public key"),
    Operation("keys.import", "keys", frozenset(), content="public key"),
    _read("keys.import_parameters", "keys"),
    Operation("keys.rotate", "keys", frozenset({"rotation"}), states=PROTECT, content="public key"),
    _transition("suspend", KeyState.SUSPENDED),
    _transition("resume", KeyState.ACTIVE),
    _transition(
        "retire", KeyState.RETIRED, states=frozenset({KeyState.ACTIVE, KeyState.SUSPENDED})
    ),
    _transition("archive", KeyState.ARCHIVED),
    _transition("restore", KeyState.RETIRED, states=frozenset({KeyState.ARCHIVED})),
    _transition("compromise", KeyState.COMPROMISED, states=_ANY_STATE - {KeyState.ARCHIVED}),
    _transition("destroy", KeyState.DESTROYED, "delete"),
    _read("keys.get", "keys"),
    _read("keys.list", "keys"),
    _kem("encrypt", PROTECT, "ciphertext"),
    _kem("decrypt", PROCESS, "ciphertext", lax=True),
    _kem("encapsulate", PROTECT, "KEM ciphertext"),
    _kem("decapsulate", PROCESS, "KEM ciphertext", lax=True),
    _kem("wrap", PROTECT, "wrapped key"),
    _kem("unwrap", PROCESS, "wrapped key", lax=True),
    _kem("encrypt_file", PROTECT, "file header"),
    _kem("decrypt_file", PROCESS, "file header", lax=True),
    _kem("encrypt_field", PROTECT, "SHA-256 of each wrapped field key, joined"),
    _kem("decrypt_field", PROCESS, "SHA-256 of each opened field key, wrapped, joined", lax=True),
    _kem("migrate_from", PROCESS, "SHA-256 of each former ciphertext, joined", lax=True),
    _kem("migrate_to", PROTECT, "SHA-256 of each new ciphertext, joined"),
    _signature("sign", PROTECT, "signature"),
    _signature("verify", PROCESS, "signature", lax=True),
    _signature("sign_hash", PROTECT, "signature"),
    _signature("verify_hash", PROCESS, "signature", lax=True),
    _read("audit.read", "audit", "audit"),
    _read("audit.proof", "audit", "audit"),
    _read("audit.verify", "audit", "audit"),
    _admin("tenants.create", "tenant document"),
    _admin("tenants.update", "tenant document"),
    _admin("policies.set", "policy document"),
    _own("api_keys.create", "API key document"),
    _own("api_keys.rotate", "API key document"),
    _own("api_keys.revoke", "API key document"),
    _read("api_keys.read", "api_keys"),
    _read("tenants.read", "admin"),
    _read("policies.read", "admin"),
    _read("policies.decide", "policies"),
    _read("usage.read", "usage"),
    _read("protector.read", "admin"),
    _admin("protector.use", "id of the KEK"),
    _admin("protector.rewrap", "report: KEK, number of records, KEKs no longer needed"),
    _admin("maintenance.run", "report: how many keys were rotated, and could not be"),
    _admin("imports.rotate", "encapsulation key"),
    _admin("audit.move_out", "what was moved out (docs/formats.md, Segment)"),
    _admin("anchors.rotate", "rotation statement; of a first key, the public key"),
)

#: Action to row.
OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType({row.action: row for row in _ROWS})
