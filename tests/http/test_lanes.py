# SPDX-License-Identifier: Apache-2.0
"""Requests that share a thread and a commit: each goes the whole way by itself all the same."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from qpher_core.asgi import Settings, create_app
from qpher_core.models import Decision, PolicyRequest
from qpher_core.service import Qpher
from tests.http.server import client, serving

MESSAGE = {"message": "AAAA"}


def at_once(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Make calls at the same time."""
    barrier = threading.Barrier(len(calls))

    def make(call: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def entries(kms: Qpher, action: str) -> list[tuple[str, str]]:
    """Return request id and outcome of the entries of an action."""
    log = kms.session("acme", actor="test").audit.entries()
    found = [entry.fields for entry in log]
    return [(f["request_id"], f["outcome"]) for f in found if f["action"] == action]


def test_each_has_its_own_answer_and_entry(kms: Qpher, http: httpx.Client) -> None:
    """Of many requests at once each has its answer, its receipt and its entry; the log is whole."""
    kms.session("acme", actor="test").keys.generate("ML-DSA-65")

    def call(number: int) -> Callable[[], httpx.Response]:
        body = {"message": f"{number:04d}"}
        return lambda: http.post("/signature/sign", json=body)

    answers = at_once(*map(call, range(48)))
    assert [answer.status_code for answer in answers] == [200] * 48
    receipts = {answer.json()["data"]["receipt"]["seq"] for answer in answers}
    assert len(receipts) == 48
    recorded = entries(kms, "signatures.sign")
    assert sorted(recorded) == sorted((a.json()["request_id"], "success") for a in answers)
    for number, answer in enumerate(answers):
        body = {
            "message": f"{number:04d}",
            "signature": answer.json()["data"]["signature"],
            "key_version": 1,
        }
        assert http.post("/signature/verify", json=body).json()["data"]["valid"] is True
    assert kms.audit.verify("acme").ok


def test_they_share_commits(kms: Qpher, http: httpx.Client) -> None:
    """Requests that arrive together need fewer commits than there are of them."""
    kms.session("acme", actor="test").keys.generate("ML-KEM-768")
    transaction: Any = kms._store._group_commit._transaction  # type: ignore[attr-defined]
    commits, commit = [], transaction.commit

    def counted() -> None:
        commits.append(1)
        time.sleep(0.02)  # a slow disk
        commit()

    transaction.commit = counted
    answers = at_once(*[lambda: http.post("/kem/encapsulate", json={})] * 40)
    assert [answer.status_code for answer in answers] == [200] * 40
    assert len(entries(kms, "kem.encapsulate")) == 40
    assert 0 < len(commits) < 30


def test_a_refusal_is_nobody_elses(kms: Qpher, base: str, api_key: str) -> None:
    """Wrong keys, scopes, versions and bodies among good requests are refused, each as alone."""
    kms.session("acme", actor="test").keys.generate("ML-DSA-65")
    kems = kms.api_keys.create("acme", scopes=("kem",))[1]
    with (
        client(base, api_key) as good,
        client(base, api_key[:-1] + "x") as wrong,
        client(base, kems) as narrow,
    ):
        cases: list[tuple[int, Callable[[], httpx.Response]]] = [
            (200, lambda: good.post("/signature/sign", json=MESSAGE)),
            (401, lambda: wrong.post("/signature/sign", json=MESSAGE)),
            (403, lambda: narrow.post("/signature/sign", json=MESSAGE)),
            (404, lambda: good.post("/signature/sign", json={**MESSAGE, "key_version": 9})),
            (400, lambda: good.post("/signature/sign", json={"message": "?"})),
        ]
        answers = at_once(*[call for _, call in cases] * 8)
    assert [answer.status_code for answer in answers] == [status for status, _ in cases] * 8
    outcomes = [outcome for _, outcome in entries(kms, "signatures.sign")]
    assert sorted(outcomes) == ["denied"] * 8 + ["failed"] * 8 + ["success"] * 8


def test_a_revoked_key_is_refused_at_once(kms: Qpher, base: str) -> None:
    """Whatever begins after a revocation has returned is refused, also under load."""
    kms.session("acme", actor="test").keys.generate("ML-DSA-65")
    key, secret = kms.api_keys.create("acme")
    begun: list[tuple[float, int]] = []
    stop = threading.Event()

    def ask() -> None:
        with client(base, secret) as http:
            while not stop.is_set():
                moment = time.monotonic()
                begun.append((moment, http.post("/signature/sign", json=MESSAGE).status_code))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while not any(status == 200 for _, status in begun):
        stop.wait(0.01)
    kms.api_keys.revoke("acme", key.id)
    revoked = time.monotonic()
    while sum(moment > revoked for moment, _ in begun) < 16:
        stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert {status for moment, status in begun if moment > revoked} == {401}


def test_a_rotation_goes_between(kms: Qpher, http: httpx.Client) -> None:
    """Requests during a rotation use the old key or the new one, and none fails."""
    session = kms.session("acme", actor="test")
    session.keys.generate("ML-DSA-44")
    sign = {**MESSAGE, "algorithm": "ML-DSA-44"}
    calls = [lambda: http.post("/signature/sign", json=sign)] * 24
    rotate = {"algorithm": "ML-DSA-44"}
    calls.insert(12, lambda: http.post("/kms/keys/rotate", json=rotate))
    answers = at_once(*calls)
    assert {answer.status_code for answer in answers} == {200}
    versions = {answer.json()["data"]["key_version"] for answer in answers}
    assert versions <= {1, 2}
    assert kms.audit.verify("acme").ok


class Stuck:
    """A policy engine that lets one payload size wait."""

    may_block = False

    def __init__(self) -> None:
        self.go = threading.Event()

    def decide(self, request: PolicyRequest) -> Decision:
        """Allow, sooner or later."""
        if request.payload_bytes == 3:
            self.go.wait(30)
        return Decision(allow=True, rule="stuck", reason="")


def test_a_slow_request_holds_up_no_others(kms: Qpher, api_key: str) -> None:
    """While one request does not come to an end, others go to another thread; it gets a 504."""
    kms.session("acme", actor="test").keys.generate("ML-DSA-44")
    stuck = Stuck()
    kms._pipeline._policy = stuck
    with serving(create_app(kms, Settings(deadline=4.0))) as base, client(base, api_key) as http:
        slow = {"message": "AAAA", "algorithm": "ML-DSA-44"}
        quick = {"message": "AAAAAAAA", "algorithm": "ML-DSA-44"}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(http.post, "/signature/sign", json=slow)
            statuses = [http.post("/signature/sign", json=quick).status_code for _ in range(5)]
            assert not waiting.done()
            assert statuses == [200] * 5
            assert waiting.result().status_code == 504
            stuck.go.set()
    outcomes = [outcome for _, outcome in entries(kms, "signatures.sign")]
    assert outcomes == ["success"] * 6  # what was answered with 504 was done all the same
