# SPDX-License-Identifier: Apache-2.0
"""The table of states."""

import contextlib
import itertools

import pytest

from qpher_core.errors import StateConflict
from qpher_core.lifecycle import (
    PROCESS,
    PROTECT,
    TRANSITIONS,
    KeyState,
    check_transition,
    restored,
)

S = KeyState


def test_every_state_has_a_row() -> None:
    """The table says of each state where it leads, and nothing leads to itself."""
    assert set(TRANSITIONS) == set(KeyState)
    assert all(state not in targets for state, targets in TRANSITIONS.items())


@pytest.mark.parametrize("compromised", [False, True])
@pytest.mark.parametrize(("current", "target"), [*itertools.product(KeyState, KeyState)])
def test_check_transition_follows_the_table(
    current: KeyState, target: KeyState, *, compromised: bool
) -> None:
    """Exactly the transitions of the table are allowed; a refusal tells the choice.

    An archived key goes back to where it came from, and nowhere else.
    """
    allowed = TRANSITIONS[current]
    if current is S.ARCHIVED:
        allowed = allowed - ({S.RETIRED} if compromised else {S.COMPROMISED})
    if target in allowed:
        check_transition(current, target, compromised=compromised)
        return
    with pytest.raises(StateConflict, match=f"{current} cannot become {target}") as caught:
        check_transition(current, target, compromised=compromised)
    for state in allowed:
        assert str(state) in str(caught.value)


def test_no_way_leads_from_compromised_to_a_state_that_processes() -> None:
    """Whatever follows, a key that was compromised is compromised, archived or destroyed."""
    reached, found = {S.COMPROMISED}, [S.COMPROMISED]
    while found:
        current = found.pop()
        for target in TRANSITIONS[current] - reached:
            with contextlib.suppress(StateConflict):
                check_transition(current, target, compromised=True)
                reached.add(target)
                found.append(target)
    assert reached == {S.COMPROMISED, S.ARCHIVED, S.DESTROYED}
    assert restored(compromised=True) is S.COMPROMISED
    assert restored(compromised=False) is S.RETIRED


def test_destroyed_is_final() -> None:
    """Nothing leads out of destroyed, and only archived and compromised lead into it."""
    assert TRANSITIONS[S.DESTROYED] == frozenset()
    assert {s for s, targets in TRANSITIONS.items() if S.DESTROYED in targets} == {
        S.ARCHIVED,
        S.COMPROMISED,
    }


def test_what_may_protect_may_process() -> None:
    """Only active keys protect; compromised, archived and destroyed ones do not process."""
    assert {S.ACTIVE} == PROTECT
    assert PROTECT < PROCESS
    assert {S.ACTIVE, S.SUSPENDED, S.RETIRED} == PROCESS


def test_the_tables_cannot_be_changed() -> None:
    """The table is read-only."""
    with pytest.raises(TypeError):
        TRANSITIONS[S.ACTIVE] = frozenset()  # type: ignore[index]
