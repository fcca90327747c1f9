# SPDX-License-Identifier: Apache-2.0
"""Key states and the transitions between them (NIST SP 800-57 Part 1 Rev. 5, section 7)."""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qpher_core.errors import StateConflict

__all__ = ["PROCESS", "PROTECT", "TRANSITIONS", "KeyState", "check_transition", "restored"]


class KeyState(enum.StrEnum):
    """State of one key version."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"
    COMPROMISED = "compromised"
    ARCHIVED = "archived"
    DESTROYED = "destroyed"


_S = KeyState

#: From each state, the states it may move to. An archived key goes back to where it came from:
#: compromised if it ever was, else retired.
TRANSITIONS: Final[Mapping[KeyState, frozenset[KeyState]]] = MappingProxyType(
    {
        _S.ACTIVE: frozenset({_S.SUSPENDED, _S.RETIRED, _S.COMPROMISED}),
        _S.SUSPENDED: frozenset({_S.ACTIVE, _S.RETIRED, _S.COMPROMISED}),
        _S.RETIRED: frozenset({_S.ARCHIVED, _S.COMPROMISED}),
        _S.COMPROMISED: frozenset({_S.ARCHIVED, _S.DESTROYED}),
        _S.ARCHIVED: frozenset({_S.RETIRED, _S.COMPROMISED, _S.DESTROYED}),
        _S.DESTROYED: frozenset(),
    }
)

#: States in which a key may protect new data: encrypt, encapsulate, wrap, sign.
PROTECT: Final = frozenset({_S.ACTIVE})

#: States in which a key may process what it protected earlier. Compromised is added to these
#: only when the caller passes ``accept_compromised=True``, and only for decrypt and verify.
PROCESS: Final = frozenset({_S.ACTIVE, _S.SUSPENDED, _S.RETIRED})


def restored(*, compromised: bool) -> KeyState:
    """Return what an archived key becomes when it is restored."""
    return _S.COMPROMISED if compromised else _S.RETIRED


def check_transition(current: KeyState, target: KeyState, *, compromised: bool = False) -> None:
    """Raise :class:`StateConflict` unless ``current`` may become ``target``.

    Args:
        current: the key's state.
        target: the state that it is to have.
        compromised: whether the key was ever compromised; it stays so whatever follows.
    """
    allowed = TRANSITIONS[current]
    if current is _S.ARCHIVED:
        allowed -= {restored(compromised=not compromised)}
    if target not in allowed:
        choice = ", ".join(sorted(allowed)) or "nothing"
        raise StateConflict(
            f"a key that is {current} cannot become {target}; it can become {choice}"
        )
