# SPDX-License-Identifier: Apache-2.0
"""Every cell of the state table, for every operation and every transition."""

import hashlib
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import pytest

from qpher_core.errors import NotFound, StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.service import Qpher
from qpher_core.session import Session

S = KeyState
# A composite signs digests on every provider.
KEM, SIGNATURE = "ML-KEM-768", "MLDSA65-ECDSA-P256"

#: The steps after generating that lead a key to each state, by every way worth a test.
PATHS: Final[Mapping[str, tuple[KeyState, tuple[str, ...]]]] = MappingProxyType(
    {
        "active": (S.ACTIVE, ()),
        "resumed": (S.ACTIVE, ("suspend", "resume")),
        "suspended": (S.SUSPENDED, ("suspend",)),
        "retired": (S.RETIRED, ("retire",)),
        "retired-while-suspended": (S.RETIRED, ("suspend", "retire")),
        "restored": (S.RETIRED, ("retire", "archive", "restore")),
        "compromised": (S.COMPROMISED, ("compromise",)),
        "compromised-late": (S.COMPROMISED, ("retire", "compromise")),
        "archived": (S.ARCHIVED, ("retire", "archive")),
        "archived-compromised": (S.ARCHIVED, ("compromise", "archive")),
        "restored-compromised": (S.COMPROMISED, ("compromise", "archive", "restore")),
        "destroyed": (S.DESTROYED, ("retire", "archive", "destroy")),
        "destroyed-compromised": (S.DESTROYED, ("compromise", "destroy")),
    }
)

#: The table of the design, written down a second time: what each state leads to, by method.
MOVES: Final[Mapping[str, tuple[frozenset[KeyState], KeyState]]] = MappingProxyType(
    {
        "suspend": (frozenset({S.ACTIVE}), S.SUSPENDED),
        "resume": (frozenset({S.SUSPENDED}), S.ACTIVE),
        "retire": (frozenset({S.ACTIVE, S.SUSPENDED}), S.RETIRED),
        "archive": (frozenset({S.RETIRED, S.COMPROMISED}), S.ARCHIVED),
        "restore": (frozenset({S.ARCHIVED}), S.RETIRED),  # or where it came from
        "compromise": (frozenset({S.ACTIVE, S.SUSPENDED, S.RETIRED}), S.COMPROMISED),
        "destroy": (frozenset({S.COMPROMISED, S.ARCHIVED}), S.DESTROYED),
    }
)
PROTECTS: Final = {S.ACTIVE}
PROCESSES: Final = {S.ACTIVE, S.SUSPENDED, S.RETIRED}

DIGEST: Final = hashlib.sha512(b"x").digest()


class Subject:
    """A tenant with a KEM and a signature key that were used and then led to a state."""

    def __init__(self, session: Session, path: str) -> None:
        self.session = session
        self.state, self.steps = PATHS[path]
        kem, signatures = session.kem, session.signatures
        for algorithm in (KEM, SIGNATURE):
            session.keys.generate(algorithm)
        self.box = kem.encrypt(b"x").ciphertext
        self.sent = kem.encapsulate().kem_ciphertext
        self.wrapped = kem.wrap(bytes(16)).wrapped_key
        file = io.BytesIO()
        kem.encrypt_file(io.BytesIO(b"x"), file)
        self.file = file.getvalue()
        self.value = kem.field().encrypt("x")
        self.signature = signatures.sign(b"x", algorithm=SIGNATURE).signature
        self.hashed = signatures.sign_hash(DIGEST, "SHA-512", algorithm=SIGNATURE).signature
        for step in self.steps:
            for algorithm in (KEM, SIGNATURE):
                getattr(session.keys, step)(algorithm, 1)


Act = Callable[[Subject], object]

PROTECT: Final[Mapping[str, Act]] = MappingProxyType(
    {
        "encrypt": lambda s: s.session.kem.encrypt(b"x", 1),
        "encapsulate": lambda s: s.session.kem.encapsulate(1),
        "wrap": lambda s: s.session.kem.wrap(bytes(16), 1),
        "encrypt_file": lambda s: s.session.kem.encrypt_file(io.BytesIO(), io.BytesIO(), 1),
        "encrypt_field": lambda s: s.session.kem.field(1).encrypt("x"),
        "sign": lambda s: s.session.signatures.sign(b"x", 1, SIGNATURE),
        "sign_hash": lambda s: s.session.signatures.sign_hash(DIGEST, "SHA-512", 1, SIGNATURE),
    }
)

ProcessAct = Callable[..., object]


def _decrypt_file(subject: Subject, **more: bool) -> bytes:
    clear = io.BytesIO()
    subject.session.kem.decrypt_file(io.BytesIO(subject.file), clear, 1, **more)
    return clear.getvalue()


PROCESS: Final[Mapping[str, tuple[ProcessAct, object]]] = MappingProxyType(
    {
        "decrypt": (lambda s, **m: s.session.kem.decrypt(s.box, 1, **m).plaintext, b"x"),
        "decapsulate": (
            lambda s, **m: len(s.session.kem.decapsulate(s.sent, 1, **m).shared_secret),
            32,
        ),
        "unwrap": (lambda s, **m: s.session.kem.unwrap(s.wrapped, 1, **m).symmetric_key, bytes(16)),
        "decrypt_file": (_decrypt_file, b"x"),
        "decrypt_field": (lambda s, **m: s.session.kem.field(**m).decrypt(s.value), "x"),
        "verify": (
            lambda s, **m: s.session.signatures.verify(b"x", s.signature, 1, SIGNATURE, **m).valid,
            True,
        ),
        "verify_hash": (
            lambda s, **m: (
                s.session.signatures.verify_hash(
                    DIGEST, "SHA-512", s.hashed, 1, SIGNATURE, **m
                ).valid
            ),
            True,
        ),
    }
)


@pytest.fixture(params=PATHS)
def subject(request: pytest.FixtureRequest, session: Session) -> Subject:
    """Return a tenant whose keys are in a state."""
    return Subject(session, request.param)


def last(session: Session) -> dict[str, object]:
    """Return the fields of the last audit entry."""
    return [*session.audit.entries()][-1].fields


def test_the_paths_lead_to_their_states(subject: Subject) -> None:
    """Each way to a state ends in it."""
    for algorithm in (KEM, SIGNATURE):
        assert subject.session.keys.get(algorithm, 1).state is subject.state


def test_protecting(subject: Subject) -> None:
    """Only an active key protects; every refusal is recorded as failed."""
    for name, act in PROTECT.items():
        if subject.state in PROTECTS:
            act(subject)
            continue
        with pytest.raises(StateConflict, match=str(subject.state)) as caught:
            act(subject)
        assert caught.value.code == "ERR_KMS_003"
        fields = last(subject.session)
        assert str(fields["action"]).endswith(f".{name}")
        assert fields["outcome"] == "failed"


def test_processing(subject: Subject) -> None:
    """Active, suspended and retired keys process; all others refuse, and that is recorded."""
    for name, (act, expected) in PROCESS.items():
        if subject.state in PROCESSES:
            assert act(subject) == expected
            continue
        with pytest.raises(StateConflict, match=str(subject.state)):
            act(subject)
        fields = last(subject.session)
        assert str(fields["action"]).endswith(f".{name}")
        assert fields["outcome"] == "failed"


def test_processing_with_accept_compromised(subject: Subject) -> None:
    """``accept_compromised`` adds the compromised state to those that process, and no other."""
    for name, (act, expected) in PROCESS.items():
        if subject.state in PROCESSES | {S.COMPROMISED}:
            assert act(subject, accept_compromised=True) == expected
            fields = last(subject.session)
            assert str(fields["action"]).endswith(f".{name}")
            assert fields["outcome"] == "success"
            continue
        with pytest.raises(StateConflict):
            act(subject, accept_compromised=True)


def test_only_true_accepts_compromised_keys(session: Session) -> None:
    """Without ``accept_compromised`` the refusal names it."""
    subject = Subject(session, "compromised")
    for act, _ in PROCESS.values():
        with pytest.raises(StateConflict, match="accept_compromised=True"):
            act(subject, accept_compromised=False)


@pytest.mark.parametrize("method", MOVES)
def test_transitions(subject: Subject, method: str) -> None:
    """Each method moves from exactly the states of the table; else nothing changes."""
    sources, target = MOVES[method]
    keys = subject.session.keys
    before = keys.get(KEM, 1)
    if method == "restore" and "compromise" in subject.steps:
        target = S.COMPROMISED
    if subject.state in sources:
        after = getattr(keys, method)(KEM, 1, reason="why")
        assert (after.state, after.reason) == (target, "why")
        assert after.revision == before.revision + 1
        assert keys.get(KEM, 1) == after
        assert last(subject.session)["outcome"] == "success"
        return
    with pytest.raises(StateConflict) as caught:
        getattr(keys, method)(KEM, 1, reason="why")
    assert caught.value.code == "ERR_KMS_003"
    assert keys.get(KEM, 1) == before
    fields = last(subject.session)
    assert (fields["action"], fields["outcome"]) == (f"keys.{method}", "failed")


def test_a_compromise_is_never_forgotten(session: Session) -> None:
    """Archived and restored any number of times, a compromised key stays compromised."""
    subject = Subject(session, "compromised")
    keys = session.keys
    since = keys.get(KEM, 1).compromised_at
    assert since == keys.get(KEM, 1).changed_at
    for _ in range(2):
        archived = keys.archive(KEM, 1)
        assert (archived.state, archived.compromised_at) == (S.ARCHIVED, since)
        again = keys.restore(KEM, 1)
        assert (again.state, again.compromised_at) == (S.COMPROMISED, since)
        with pytest.raises(StateConflict, match="accept_compromised"):
            session.kem.decrypt(subject.box, 1)
    assert session.kem.decrypt(subject.box, 1, accept_compromised=True).plaintext == b"x"
    assert keys.destroy(KEM, 1).compromised_at == since
    assert keys.get(KEM, 1).compromised_at == since


def test_rotating(subject: Subject) -> None:
    """Rotating needs an active version, retires it, and leaves versions in other states."""
    keys = subject.session.keys
    if subject.state in PROTECTS:
        assert keys.rotate(KEM).old_key_version == 1
        assert keys.get(KEM, 1).state is S.RETIRED
        return
    with pytest.raises(NotFound):
        keys.rotate(KEM)
    assert keys.get(KEM, 1).state is subject.state


def test_generating(subject: Subject) -> None:
    """Generating always makes version 2 active; only an active former version changes."""
    keys = subject.session.keys
    assert keys.generate(KEM).version == 2
    expected = S.RETIRED if subject.state in PROTECTS else subject.state
    assert keys.get(KEM, 1).state is expected


def test_resuming_beside_an_active_version(session: Session) -> None:
    """A suspended key cannot be resumed while another version is active."""
    session.keys.generate(KEM)
    session.keys.suspend(KEM, 1)
    session.keys.generate(KEM)
    with pytest.raises(StateConflict, match="active"):
        session.keys.resume(KEM, 1)
    assert [key.state for key in session.keys.list()] == [S.SUSPENDED, S.ACTIVE]
    session.keys.retire(KEM, 2)
    assert session.keys.resume(KEM, 1).state is S.ACTIVE


def test_reading_works_in_every_state(subject: Subject) -> None:
    """Public data of a key can be read whatever its state, also when it is destroyed."""
    key = subject.session.keys.get(KEM, 1)
    assert len(key.public_key) == 1184
    assert key in subject.session.keys.list(state=subject.state)


def test_states_are_seen_by_other_sessions_at_once(service: Qpher, session: Session) -> None:
    """A state change takes effect on the very next operation of any other session."""
    subject = Subject(session, "active")
    tenant_id = session.kem.encrypt(b"").receipt.tenant_id
    other = service.session(tenant_id, actor="other")
    assert other.kem.decrypt(subject.box, 1).plaintext == b"x"
    session.keys.compromise(KEM, 1)
    with pytest.raises(StateConflict):
        other.kem.decrypt(subject.box, 1)


def test_accepting_a_compromised_key_is_recorded(session: Session) -> None:
    """The audit entry tells that a compromised key was used knowingly."""
    session.keys.generate("ML-KEM-768")
    box = session.kem.encrypt(b"m")
    session.keys.compromise("ML-KEM-768", 1)
    opened = session.kem.decrypt(box.ciphertext, 1, accept_compromised=True)
    assert session.audit.entry(opened.receipt).fields["reason"] == "accept_compromised"
