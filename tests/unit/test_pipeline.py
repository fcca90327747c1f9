# SPDX-License-Identifier: Apache-2.0
"""What happens when others change a key between the look at it and the commit."""

from collections.abc import Callable, Iterator

import pytest

import qpher_core
from qpher_core.errors import StateConflict
from qpher_core.models import Decision, PolicyRequest
from qpher_core.service import Qpher
from qpher_core.session import Session

KEM = "ML-KEM-768"


class Meddler:
    """A policy engine that allows, and at each decision lets somebody else act first."""

    may_block = False

    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None
        self.times = 0
        self.acted = 0

    def decide(self, request: PolicyRequest) -> Decision:
        """Let the other act, whose own operation is decided without further ado."""
        if self.act is not None and self.times > 0:
            act, self.act = self.act, None
            self.times -= 1
            self.acted += 1
            act()
            self.act = act
        return Decision(allow=True, rule="test", reason=request.action)


@pytest.fixture
def meddler() -> Meddler:
    """Return an engine that does not meddle yet."""
    return Meddler()


@pytest.fixture
def meddled(meddler: Meddler) -> Iterator[Qpher]:
    """Open a service that asks the meddler."""
    with qpher_core.open("memory:", policy=meddler) as opened:
        yield opened


@pytest.fixture
def tenant(meddled: Qpher) -> Session:
    """Return a session with one key."""
    meddled.tenants.create("acme")
    session = meddled.session("acme", actor="tester")
    session.keys.generate(KEM)
    return session


def outcomes(session: Session) -> list[tuple[str, str]]:
    """Return action and outcome of the entries after the first two."""
    fields = [entry.fields for entry in session.audit.entries(start=2)]
    return [(f["action"], f["outcome"]) for f in fields]


def test_a_key_suspended_meanwhile_is_not_used(tenant: Session, meddler: Meddler) -> None:
    """A key that stops being active before the commit has protected nothing."""
    meddler.act, meddler.times = lambda: tenant.keys.suspend(KEM, 1), 1
    with pytest.raises(StateConflict, match="suspended"):
        tenant.kem.encrypt(b"x", 1)
    assert outcomes(tenant) == [("keys.suspend", "success"), ("kem.encrypt", "failed")]


def test_a_key_compromised_meanwhile_opens_nothing(tenant: Session, meddler: Meddler) -> None:
    """A message is not released when its key became compromised before the commit."""
    box = tenant.kem.encrypt(b"x").ciphertext
    meddler.act, meddler.times = lambda: tenant.keys.compromise(KEM, 1), 1
    with pytest.raises(StateConflict, match="compromised"):
        tenant.kem.decrypt(box, 1)
    assert outcomes(tenant)[1:] == [("keys.compromise", "success"), ("kem.decrypt", "failed")]


def test_a_key_rotated_meanwhile_gives_way_to_the_new_one(
    tenant: Session, meddler: Meddler
) -> None:
    """Whoever protects with the active key uses the one that is active at the commit."""
    meddler.act, meddler.times = lambda: tenant.keys.rotate(KEM), 1
    box = tenant.kem.encrypt(b"x")
    assert box.key_version == 2
    assert tenant.kem.decrypt(box.ciphertext, 2).plaintext == b"x"


def test_a_transition_meanwhile_is_looked_at_again(tenant: Session, meddler: Meddler) -> None:
    """A transition is checked against the state that the key has at the commit."""
    meddler.act, meddler.times = lambda: tenant.keys.retire(KEM, 1), 1
    with pytest.raises(StateConflict, match="retired"):
        tenant.keys.suspend(KEM, 1)
    assert tenant.keys.get(KEM, 1).status == "retired"


def test_rotations_meanwhile_follow_each_other(tenant: Session, meddler: Meddler) -> None:
    """A rotation that is overtaken rotates the key that overtook it."""
    meddler.act, meddler.times = lambda: tenant.keys.rotate(KEM), 3
    result = tenant.keys.rotate(KEM)
    assert (result.old_key_version, result.key_version) == (4, 5)
    assert [key.version for key in tenant.keys.list(state="active")] == [5]
    assert tenant.audit.verify().ok


def test_endless_changes_end_in_a_refusal(tenant: Session, meddler: Meddler) -> None:
    """When others change the key again and again the operation gives up, once, on the record."""
    meddler.act, meddler.times = lambda: tenant.keys.rotate(KEM), 1000
    with pytest.raises(StateConflict, match="again and again"):
        tenant.kem.encrypt(b"x")
    assert meddler.acted == 32
    meddler.times = 0
    assert [action for action, outcome in outcomes(tenant) if outcome == "failed"] == [
        "kem.encrypt"
    ]
    assert tenant.kem.encrypt(b"x").key_version == 33
