# SPDX-License-Identifier: Apache-2.0
"""What a policy engine that cannot answer does to callers, beyond the single refusal."""

import threading
import time
from collections.abc import Callable

import pytest

import qpher_core
from qpher_core import Decision, PermissionDenied, PolicyRequest, PolicyUnavailable


class Engine:
    """A policy engine that does what it is told."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    def decide(self, _: PolicyRequest) -> Decision:
        """Answer anything at all."""
        return self.answer()  # type: ignore[return-value]


def _raise() -> object:
    raise ConnectionError("no route to the engine")


def _deny() -> object:
    return Decision(allow=False, rule="no", reason="because")


def _open(url: str, engine: Engine) -> qpher_core.Qpher:
    return qpher_core.open(url, policy=engine, policy_deadline=0.05)


def test_reads_are_refused_too(url: str) -> None:
    """Looking at keys and at the log needs the same allowance."""
    with _open(url, Engine(_raise)) as kms:
        session = kms.session("acme", actor="test")
        reads: tuple[Callable[[], object], ...] = (
            session.keys.list,
            lambda: session.keys.get("ML-KEM-768", 1),
            session.audit.entries,
            session.audit.verify,
        )
        for read in reads:
            with pytest.raises(PolicyUnavailable):
                read()


def test_the_caller_waits_no_longer_than_the_deadline(url: str) -> None:
    """A hanging engine costs the deadline, not its own time."""
    release = threading.Event()
    with _open(url, Engine(release.wait)) as kms:
        session = kms.session("acme", actor="test")
        started = time.monotonic()
        with pytest.raises(PolicyUnavailable):
            session.signatures.sign(b"m")
        waited = time.monotonic() - started
    release.set()
    assert waited < 5


def test_an_engine_that_comes_back_is_asked_again(url: str) -> None:
    """A failure is not remembered."""
    engine = Engine(_raise)
    with _open(url, engine) as kms:
        session = kms.session("acme", actor="test")
        with pytest.raises(PolicyUnavailable):
            session.kem.encrypt(b"m")
        engine.answer = lambda: Decision(allow=True, rule="yes", reason="")
        assert session.kem.encrypt(b"m").ciphertext
        assert kms.audit.verify("acme").ok


def test_a_caller_whom_policy_denies_does_not_learn_which_keys_exist(url: str) -> None:
    """A missing key and an existing one look alike to who is denied."""
    with _open(url, Engine(_deny)) as kms:
        session = kms.session("acme", actor="test")
        with pytest.raises(PermissionDenied) as existing:
            session.kem.encrypt(b"m", key_version=1)
        with pytest.raises(PermissionDenied) as missing:
            session.kem.encrypt(b"m", key_version=77)
    assert str(existing.value) == str(missing.value)
