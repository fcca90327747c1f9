# SPDX-License-Identifier: Apache-2.0
"""The policy engine denies, fails, hangs or answers nonsense."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import qpher_core
from qpher_core import (
    Decision,
    NotFound,
    PermissionDenied,
    PolicyRequest,
    PolicyUnavailable,
    QpherError,
)
from qpher_core.key_usage import OF_MIGRATIONS
from qpher_core.operations import OPERATIONS
from qpher_core.service import Qpher
from tests.contract.table import BACKENDS, backends
from tests.world import CALLS, audit_of, make_goods, snapshot


class Engine:
    """A policy engine that answers as it is told, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.allow()

    def allow(self) -> None:
        """Allow everything from now on."""
        self.answer = lambda _: Decision(allow=True, rule="test", reason="allowed")

    def decide(self, request: PolicyRequest) -> Decision:
        """Answer."""
        self.asked += 1
        return self.answer(request)


@pytest.fixture
def engine() -> Engine:
    """Return an engine that allows everything until it is told otherwise."""
    return Engine()


@pytest.fixture(params=backends())
def guarded(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine) -> Iterator[Qpher]:
    """Open a service on every backend that asks ``engine``, with a short deadline."""
    url = BACKENDS[request.param].url(tmp_path)
    with qpher_core.open(url, policy=engine, policy_deadline=0.2) as kms:
        kms.tenants.create("acme")
        yield kms


class _Lookalike:
    """Has the members of a decision and is none."""

    allow = True
    rule = "r"
    reason = "r"


def _raises(error: Exception) -> Callable[[object], object]:
    def answer(_: object) -> object:
        raise error

    return answer


NONSENSE = {
    "raises": _raises(RuntimeError("down")),
    "raises a timeout": _raises(TimeoutError()),
    "raises a denial": _raises(PermissionDenied("no")),
    "raises an error without a word": _raises(Exception()),
    "None": lambda _: None,
    "True": lambda _: True,
    "text": lambda _: "allow",
    "mapping": lambda _: {"allow": True, "rule": "r", "reason": "r"},
    "lookalike": lambda _: _Lookalike(),
    "class": lambda _: Decision,
    "allow is 1": lambda _: Decision(allow=1, rule="r", reason="r"),
    "allow is text": lambda _: Decision(allow="true", rule="r", reason="r"),
    "allow is None": lambda _: Decision(allow=None, rule="r", reason="r"),
    "allow is a list": lambda _: Decision(allow=[True], rule="r", reason="r"),
    "the rule is no text": lambda _: Decision(allow=True, rule=None, reason="r"),
    "the rule is not UTF-8": lambda _: Decision(allow=False, rule="\ud800", reason="r"),
    "the reason is not UTF-8": lambda _: Decision(allow=False, rule="r", reason="no \udfff"),
}


def _refused(
    kms: Qpher, engine: Engine, answer: Callable[[object], object], expected: type[QpherError]
) -> None:
    """Run every operation under an answer: all are refused, recorded, and change nothing else."""
    session = kms.session("acme", actor="tester")
    goods = make_goods(session)
    engine.answer = answer
    for action, call in CALLS.items():
        before = snapshot(kms)
        with pytest.raises(expected) as caught:
            call(session, goods)
        assert type(caught.value) is expected, action
        assert "policy" in str(caught.value)
        after = snapshot(kms)
        assert (after.keys, after.tenants, after.policies) == (
            before.keys,
            before.tenants,
            before.policies,
        )
        assert after.entries[:-1] == before.entries
        recorded = "keys.compromise" if action == "keys.destroy" else action
        assert audit_of(after)[-1][:2] == (recorded, "denied")
        assert audit_of(after)[-1][2].startswith(caught.value.code)
    engine.allow()
    for action, call in CALLS.items():
        call(session, goods)
        assert kms.audit.verify("acme").ok, action


def test_the_calls_are_all_of_them() -> None:
    """The calls that these suites make cover every operation that a session has.

    Migrations enter with several; tests/contract/test_migration.py has theirs.
    """
    own = {row.action for row in OPERATIONS.values() if not row.administrative}
    assert set(CALLS) == own - OF_MIGRATIONS


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_no_permission(
    guarded: Qpher, engine: Engine, answer: Callable[[object], object]
) -> None:
    """An engine that raises or answers anything but a decision stops every operation."""
    _refused(guarded, engine, answer, PolicyUnavailable)


def test_a_denial_stops_every_operation(guarded: Qpher, engine: Engine) -> None:
    """A denial stops every operation, is recorded, and carries its rule and reason."""
    denial = Decision(allow=False, rule="lunch", reason="not at noon")
    _refused(guarded, engine, lambda _: denial, PermissionDenied)
    engine.answer = lambda _: denial
    session = guarded.session("acme", actor="tester")
    with pytest.raises(PermissionDenied, match=r"kem\.encrypt: not at noon") as caught:
        session.kem.encrypt(b"", name="k-main")
    assert caught.value.rule == "lunch"


@pytest.fixture
def stuck(engine: Engine) -> Iterator[Callable[[object], object]]:
    """Return an answer that does not come until the test is over."""
    released = threading.Event()

    def answer(_: object) -> Decision:
        released.wait(60)
        return Decision(allow=True, rule="late", reason="too late")

    yield answer
    released.set()


def test_a_hanging_engine_is_left_behind(
    guarded: Qpher, engine: Engine, stuck: Callable[[object], object]
) -> None:
    """An engine that hangs past its deadline stops the operation in time; its answer is void."""
    session = guarded.session("acme", actor="tester")
    goods = make_goods(session)
    engine.answer = stuck
    before = snapshot(guarded)
    for action in ("kem.decrypt", "keys.rotate", "keys.get"):
        started = time.monotonic()
        with pytest.raises(PolicyUnavailable, match="TimeoutError"):
            CALLS[action](session, goods)
        assert time.monotonic() - started < 5
    after = snapshot(guarded)
    assert after.keys == before.keys
    assert [entry[1] for entry in audit_of(after)[len(before.entries) :]] == ["denied"] * 3
    engine.allow()
    assert session.kem.decrypt(goods.ciphertext, 1, name="k-main").plaintext == b"a message"
    assert guarded.audit.verify("acme").ok


def test_a_late_answer_counts_for_nothing(guarded: Qpher, engine: Engine) -> None:
    """An allowance that comes after the deadline does not run the operation later."""

    def slow(_: object) -> Decision:
        time.sleep(0.4)
        return Decision(allow=True, rule="late", reason="too late")

    session = guarded.session("acme", actor="tester")
    engine.answer = slow
    with pytest.raises(PolicyUnavailable):
        session.keys.generate("ML-KEM-768")
    after = snapshot(guarded)
    time.sleep(0.5)
    assert snapshot(guarded) == after
    assert not after.keys


def test_every_operation_asks(guarded: Qpher, engine: Engine) -> None:
    """No operation goes past the engine."""
    session = guarded.session("acme", actor="tester")
    goods = make_goods(session)
    for action, call in CALLS.items():
        before = engine.asked
        call(session, goods)
        assert engine.asked == before + (2 if action == "keys.destroy" else 1), action


def test_errors_do_not_tell_what_the_engine_said(guarded: Qpher, engine: Engine) -> None:
    """What an engine's exception says reaches neither the caller's message nor the log."""
    session = guarded.session("acme", actor="tester")
    engine.answer = _raises(RuntimeError("password is hunter2"))
    with pytest.raises(PolicyUnavailable) as caught:
        session.keys.generate("ML-KEM-768")
    assert "hunter2" not in str(caught.value)
    assert b"hunter2" not in snapshot(guarded).entries[-1].body


def test_who_is_denied_does_not_learn_which_keys_exist(guarded: Qpher, engine: Engine) -> None:
    """A denial reads the same whether the key exists or not; an allowance tells."""
    session = guarded.session("acme", actor="tester")
    make_goods(session)
    engine.answer = lambda _: Decision(allow=False, rule="r", reason="no")
    told = set()
    for name in ("k-main", "k-none"):
        with pytest.raises(PermissionDenied) as caught:
            session.keys.get("ML-KEM-768", 1, name=name)
        told.add((str(caught.value), caught.value.code))
    assert len(told) == 1
    engine.allow()
    with pytest.raises(NotFound):
        session.keys.get("ML-KEM-768", 1, name="k-none")
