# SPDX-License-Identifier: Apache-2.0
"""Many threads on one key: each gets what is its own, and each call is in the log once."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from qpher_core.errors import NotFound
from qpher_core.session import Session

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-65"
THREADS, CALLS = 8, 48

T = TypeVar("T")


@pytest.fixture
def acme(session: Session) -> Session:
    """Return a session with one key of each kind."""
    session.keys.generate(KEM)
    session.keys.generate(SIGNATURE)
    return session


def made(call: Callable[[int], T]) -> list[T]:
    """Make calls in several threads; return their results in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(CALLS)))


def recorded(session: Session, action: str) -> list[dict[str, object]]:
    """Return the fields of the entries of an action."""
    found = [entry.fields for entry in session.audit.entries()]
    return [fields for fields in found if fields["action"] == action]


def test_signatures_are_each_callers(acme: Session) -> None:
    """Each signature is of its caller's message, of whatever size; each receipt names its entry."""
    messages = [b"%d" % number * (1 + number % 5) for number in range(CALLS)]
    signed = made(lambda n: acme.signatures.sign(messages[n], algorithm=SIGNATURE))
    valid = made(
        lambda n: acme.signatures.verify(messages[n], signed[n].signature, 1, SIGNATURE).valid
    )
    wrong = made(
        lambda n: acme.signatures.verify(messages[n - 1], signed[n].signature, 1, SIGNATURE).valid
    )
    assert (set(valid), set(wrong)) == ({True}, {False})
    entries = recorded(acme, "signatures.sign")
    assert Counter(entry["request_id"] for entry in entries) == Counter(
        one.request_id for one in signed
    )
    assert {one.receipt.seq: one.request_id for one in signed} == {
        entry["seq"]: entry["request_id"] for entry in entries
    }
    assert len(recorded(acme, "signatures.verify")) == 2 * CALLS


def test_shared_secrets_are_each_callers(acme: Session) -> None:
    """Each encapsulation is another one, and opens to its own secret."""
    sent = made(lambda _: acme.kem.encapsulate(algorithm=KEM))
    assert len({one.shared_secret for one in sent}) == CALLS
    opened = made(lambda n: acme.kem.decapsulate(sent[n].kem_ciphertext, 1, KEM).shared_secret)
    assert opened == [one.shared_secret for one in sent]


def test_refusals_are_each_callers(acme: Session) -> None:
    """Calls that are refused among others that are not are recorded as such, one by one."""

    def sign(number: int) -> str:
        try:
            acme.signatures.sign(b"m", 1 + number % 2, SIGNATURE)
        except NotFound:
            return "failed"
        return "success"

    outcomes = made(sign)
    assert outcomes == ["success", "failed"] * (CALLS // 2)
    assert Counter(entry["outcome"] for entry in recorded(acme, "signatures.sign")) == Counter(
        outcomes
    )
