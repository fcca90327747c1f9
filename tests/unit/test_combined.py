# SPDX-License-Identifier: Apache-2.0
"""Calls that are made at the same time: executed at once, and recorded as each deserves."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

import qpher_core
from qpher_core import alike, combined
from qpher_core.algorithms import ALGORITHMS
from qpher_core.calls import Effect, KeyCall, KeySelector, Shared
from qpher_core.combined import kind_of
from qpher_core.errors import (
    AuditUnavailable,
    AuthenticationError,
    NotFound,
    PermissionDenied,
    PolicyUnavailable,
    QpherError,
    StoreUnavailable,
)
from qpher_core.models import Decision, PolicyRequest, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.results import SignResult
from qpher_core.service import Qpher
from qpher_core.session import Session
from qpher_core.together import Joining

SIGNATURE = "ML-DSA-44"


class Asked:
    """A policy engine that remembers what it was asked, and refuses messages of one size."""

    may_block = False

    def __init__(self) -> None:
        self.questions: list[PolicyRequest] = []
        self.refused = -1
        self.dead = False

    def decide(self, request: PolicyRequest) -> Decision:
        """Decide by the size."""
        self.questions.append(request)
        if self.dead and request.action == "signatures.sign":
            raise RuntimeError("dead")
        return Decision(allow=request.payload_bytes != self.refused, rule="size", reason="")


@pytest.fixture
def asked() -> Asked:
    """Return a policy engine."""
    return Asked()


@pytest.fixture
def kms(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Qpher]:
    """Open a service; calls wait for those of their kind as long as it takes."""
    monkeypatch.setattr(alike, "_PATIENCE", 10.0)
    monkeypatch.setattr(alike, "_MOST_PATIENCE", 10.0)
    with qpher_core.open("memory:", policy=asked) as opened:
        opened.tenants.create("acme")
        yield opened


@pytest.fixture
def acme(kms: Qpher) -> Session:
    """Return a session with a key."""
    session = kms.session("acme", actor="tester")
    session.keys.generate(SIGNATURE)
    return session


def at_once(kms: Qpher, *calls: Callable[[], Any]) -> list[Any]:
    """Make calls so that all are there at the same time; return results and errors."""
    pipeline: Any = kms._pipeline
    brought = pipeline._alike
    run, go = brought._run, threading.Event()
    held: list[Any] = []  # by who runs them already

    def hold(asked: Sequence[Any]) -> Any:
        held.extend(asked)
        assert go.wait(20)
        return run(asked)

    def tried(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except QpherError as error:
            return error

    brought._run = hold
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(tried, call) for call in calls]
        for _ in range(2000):
            waiting = sum(len(line.waiting) for line in [*brought._lines.values()])
            if len(held) + waiting == len(calls):
                break
            time.sleep(0.005)
        go.set()
        results = [future.result(30) for future in futures]
    brought._run = run
    return results


def entries(session: Session, action: str = "signatures.sign") -> list[dict[str, Any]]:
    """Return the fields of the entries of an action."""
    found = [entry.fields for entry in session.audit.entries()]
    return [fields for fields in found if fields["action"] == action]


def sign(session: Session, message: bytes) -> Callable[[], SignResult]:
    """Return a call."""
    return lambda: session.signatures.sign(message, algorithm=SIGNATURE)


def test_each_gets_its_own(kms: Qpher, acme: Session, asked: Asked) -> None:
    """Each has the signature of its message, its own entry and id, and few were decided."""
    messages = [b"message %03d" % number for number in range(16)]
    asked.questions.clear()
    results = at_once(kms, *[sign(acme, message) for message in messages])
    assert len(asked.questions) <= 3
    assert {q.payload_bytes for q in asked.questions} == {11}
    for message, result in zip(messages, results, strict=True):
        signature = result.signature
        assert acme.signatures.verify(message, signature, 1, SIGNATURE).valid
        entry = acme.audit.entry(result.receipt).fields
        assert entry["request_id"] == result.request_id
        assert entry["actor"] == "tester"
    assert len({result.request_id for result in results}) == 16
    assert len({result.receipt.seq for result in results}) == 16
    assert len(entries(acme)) == 16
    assert kms.audit.verify("acme").ok


def test_policy_is_asked_about_each_size(kms: Qpher, acme: Session, asked: Asked) -> None:
    """Calls that differ in the size of their input are decided by their own."""
    asked.questions.clear()
    at_once(kms, *[sign(acme, bytes(1 + number % 3)) for number in range(12)])
    assert {q.payload_bytes for q in asked.questions} == {1, 2, 3}
    assert len(asked.questions) <= 5
    assert len(entries(acme)) == 12


def test_a_denial_is_nobody_elses(kms: Qpher, acme: Session, asked: Asked) -> None:
    """Where policy denies one of them, it alone is refused, and each is recorded."""
    asked.refused = 5
    sizes = [4, 5, 6, 5, 4, 6, 4, 6]
    results = at_once(kms, *[sign(acme, bytes(size)) for size in sizes])
    for size, result in zip(sizes, results, strict=True):
        assert isinstance(result, PermissionDenied if size == 5 else SignResult)
    assert sorted(entry["outcome"] for entry in entries(acme)) == ["denied"] * 2 + ["success"] * 6
    assert len({entry["request_id"] for entry in entries(acme)}) == 8


def test_all_are_refused_each_by_itself(kms: Qpher, acme: Session, asked: Asked) -> None:
    """A dead engine, an unknown version and a suspended tenant give each its refusal and entry."""
    asked.dead = True
    refused = at_once(kms, *[sign(acme, b"m")] * 6)
    assert {type(error) for error in refused} == {PolicyUnavailable}
    asked.dead = False
    absent = at_once(kms, *[lambda: acme.signatures.sign(b"m", 9, SIGNATURE)] * 6)
    assert {type(error) for error in absent} == {NotFound}
    kms.tenants.suspend("acme")
    suspended = at_once(kms, *[sign(acme, b"m")] * 6)
    assert {type(error) for error in suspended} == {AuthenticationError}
    kms.tenants.resume("acme")
    outcomes = [entry["outcome"] for entry in entries(acme)]
    assert outcomes == ["denied"] * 6 + ["failed"] * 12
    assert len({id(error) for error in (*refused, *absent, *suspended)}) == 18
    assert len({entry["request_id"] for entry in entries(acme)}) == 18


def test_no_one_gets_what_is_not_recorded(
    kms: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the commit of all fails, each has an error of its own, and nothing is in the log."""
    store: Any = kms._store

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "commit", fail)
        results = at_once(kms, *[sign(acme, b"m")] * 8)
    assert all(type(result) is AuditUnavailable for result in results)
    assert len({id(result) for result in results}) == 8
    assert entries(acme) == []


def test_what_goes_wrong_while_executing_is_tried_again_alone(
    kms: Qpher, acme: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider whose batches fail is asked for each by itself; nothing is lost or doubled."""
    key = kms._keys.open_signing
    many: list[int] = []

    class NoBatches:
        def __init__(self, opened: Any) -> None:
            self.sign = opened.sign

        def sign_many(self, messages: Sequence[bytes], **_: object) -> list[bytes]:
            many.append(len(messages))
            raise RuntimeError("no batches")

    monkeypatch.setattr(type(kms._keys), "open_signing", lambda _, version: NoBatches(key(version)))
    results = at_once(kms, *[sign(acme, b"m%d" % number) for number in range(8)])
    assert many
    assert all(isinstance(result, SignResult) for result in results)
    assert [entry["outcome"] for entry in entries(acme)] == ["success"] * 8


def test_wrong_signatures_are_wrong_alone(kms: Qpher, acme: Session) -> None:
    """Of signatures that are verified at once each is judged by itself, malformed ones too."""
    good = acme.signatures.sign(b"m", algorithm=SIGNATURE).signature
    cases = [good, bytes(len(good)), b"", good[:-1], good, good + b"\0"]

    def verify(signature: bytes) -> Callable[[], bool]:
        return lambda: acme.signatures.verify(b"m", signature, 1, SIGNATURE).valid

    valid = at_once(kms, *[verify(signature) for signature in cases * 2])
    assert valid == [True, False, False, False, True, False] * 2
    assert len(entries(acme, "signatures.verify")) == 12


def test_what_is_too_long_for_a_signature_keeps_nobody_waiting(
    kms: Qpher, acme: Session, asked: Asked
) -> None:
    """Bytes that are longer than any signature, and may be very long, are looked at alone."""
    asked.questions.clear()
    longest = ALGORITHMS[SIGNATURE].output_bytes
    results = at_once(
        kms, *[lambda: acme.signatures.verify(b"m", bytes(longest + 1), 1, SIGNATURE)] * 6
    )
    assert [result.valid for result in results] == [False] * 6
    assert len(asked.questions) == 6


def test_shared_secrets_are_each_callers(kms: Qpher, acme: Session) -> None:
    """Encapsulations that are made at once differ, and each opens to its own secret."""
    acme.keys.generate("ML-KEM-512")
    made = at_once(kms, *[lambda: acme.kem.encapsulate(algorithm="ML-KEM-512")] * 12)
    assert len({one.shared_secret for one in made}) == 12

    def decapsulate(ciphertext: bytes) -> Callable[[], bytes]:
        return lambda: acme.kem.decapsulate(ciphertext, 1, "ML-KEM-512").shared_secret

    opened = at_once(kms, *[decapsulate(one.kem_ciphertext) for one in made])
    assert opened == [one.shared_secret for one in made]


def test_others_are_never_among_them(kms: Qpher, acme: Session, asked: Asked) -> None:
    """Calls of other actors, keys, contexts and operations at the same time are decided apart."""
    other = kms.session("acme", actor="somebody else")
    acme.keys.generate(SIGNATURE, name="second")
    asked.questions.clear()

    def named(name: str) -> Callable[[], object]:
        return lambda: acme.signatures.sign(b"m", algorithm=SIGNATURE, name=name)

    def bound(context: dict[str, str]) -> Callable[[], object]:
        return lambda: acme.signatures.sign(b"m", algorithm=SIGNATURE, context=context)

    calls = [sign(acme, b"m"), sign(other, b"m"), named("second"), bound({"a": "b"})] * 6
    results = at_once(kms, *calls)
    assert all(isinstance(result, SignResult) for result in results)
    questions = {(q.actor, q.key_name, q.context_keys) for q in asked.questions}
    assert questions == {
        ("tester", "default", frozenset()),
        ("somebody else", "default", frozenset()),
        ("tester", "second", frozenset()),
        ("tester", "default", frozenset({"a"})),
    }
    actors = [(entry["actor"], entry["key"]["name"]) for entry in entries(acme)]
    assert sorted(actors) == sorted(
        [("tester", "default")] * 12
        + [("somebody else", "default")] * 6
        + [("tester", "second")] * 6
    )


# --- what makes calls alike --------------------------------------------------------------------

CONTEXT = RequestContext(uuid.UUID(int=1), "a", frozenset({"kem"}), "10.0.0.1", uuid.UUID(int=2))
CALL: KeyCall[bytes] = KeyCall(
    operation=OPERATIONS["signatures.sign"],
    selector=KeySelector("default", ALGORITHMS[SIGNATURE]),
    context={"purpose": "x"},
    payload_bytes=3,
    execute=lambda _: Effect(b""),
    shared=Shared(b"abc", lambda *_: [], b"rest"),
)

#: Members of who asks and of what is asked, each with another value; None where it is the call's
#: own, and calls that differ in it are alike.
OTHER_CONTEXTS: dict[str, Any] = {
    "tenant_id": uuid.UUID(int=9),
    "actor": "b",
    "scopes": frozenset({"kem", "keys"}),
    "source": "10.0.0.2",
    "request_id": None,
}
OTHER_CALLS: dict[str, Any] = {
    "operation": OPERATIONS["signatures.verify"],
    "selector": KeySelector("default", ALGORITHMS[SIGNATURE], 1),
    "context": {"purpose": "y"},
    "payload_bytes": None,
    "features": None,
    "accept_compromised": True,
    "reason": None,
    "inputs": None,
    "execute": None,
    "shared": Shared(b"abc", lambda *_: [], b"other"),
}


def test_whatever_policy_or_the_log_see_makes_calls_differ() -> None:
    """Each member of a call and of its context is either the call's own or part of its kind."""
    assert set(OTHER_CONTEXTS) == {field.name for field in attrs.fields(RequestContext)}
    assert set(OTHER_CALLS) == {field.name for field in attrs.fields(KeyCall)}
    kind = kind_of((CONTEXT, CALL))
    assert kind is not None
    for name, value in OTHER_CONTEXTS.items():
        other = attrs.evolve(CONTEXT, **{name: value})
        assert (kind_of((other, CALL)) == kind) is (value is None), name
    for name, value in OTHER_CALLS.items():
        if value is not None:
            assert kind_of((CONTEXT, attrs.evolve(CALL, **{name: value}))) != kind, name
    own = attrs.evolve(CALL, payload_bytes=4, inputs={"a": 1}, shared=Shared(b"x", list, b"rest"))
    assert kind_of((CONTEXT, own)) == kind


def test_a_call_that_joins_shows_no_context() -> None:
    """What makes calls alike has the caller's context in it, which no repr may show."""
    call = attrs.evolve(CALL, context={"purpose": "canary"}, shared=Shared(b"", list, b"canary"))
    assert "canary" not in repr(Joining(kind_of((CONTEXT, call)), (CONTEXT, call)))


@pytest.mark.parametrize(
    "change",
    [
        {"shared": None},
        {"reason": "a reason"},
        {"features": lambda: frozenset({"deterministic"})},
        {"payload_bytes": combined._LARGEST + 1},
    ],
)
def test_who_shares_nothing_is_not_combined(change: dict[str, Any]) -> None:
    """Calls with a reason or features of their own, with much input, or that cannot, run alone."""
    assert kind_of((CONTEXT, attrs.evolve(CALL, **change))) is None
