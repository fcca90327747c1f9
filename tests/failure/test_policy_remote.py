# SPDX-License-Identifier: Apache-2.0
"""Policy engines over real sockets: a Rego interpreter, and every way not to answer."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import qpher_core
from qpher_backends.policies.remote import RemoteEngine
from qpher_core import Decision, PermissionDenied, PolicyUnavailable, ValidationError
from qpher_core.discovery import open_store
from qpher_core.models import PolicyDocument
from tests.failure.wire import replying
from tests.http_server import Answer
from tests.policy_servers import HTTP_ANSWERS, answering, hanging_up, rego, saying
from tests.unit.test_policy import REQUEST

POLICY = """package qpher

import rego.v1

default allow := false

allow if {
    input.action == "keys.generate"
    input.actor == "clerk"
}

allow if {
    input.algorithm == "ML-KEM-768"
    input.payload_bytes < 10
}
"""


def ask(url: str, *, deadline: float = 30) -> Decision:
    """Ask one engine once."""
    with closing(RemoteEngine(url, deadline=deadline)) as engine:
        return engine.decide(REQUEST)


BOTH = pytest.mark.parametrize("scheme", ["http", "opa+http"])


def test_rego_decides(url: str) -> None:
    """Rules in Rego allow and deny, through the whole service."""
    with answering(rego(POLICY)) as host:
        opa = f"opa+http://{host}/v1/data/qpher/allow"
        with qpher_core.open(url, policy=opa, policy_deadline=30) as kms:
            kms.tenants.create("other")
            clerk, other = (kms.session("other", actor=actor) for actor in ("clerk", "other"))
            clerk.keys.generate("ML-KEM-768")
            assert other.kem.encrypt(b"short").ciphertext
            for call in (
                lambda: other.kem.encrypt(b"long enough"),
                lambda: other.keys.generate("ML-KEM-1024"),
            ):
                with pytest.raises(PermissionDenied) as caught:
                    call()
                assert caught.value.rule == "opa"
            assert kms.audit.verify("other").ok


def test_an_undefined_rule_is_no_answer() -> None:
    """A document that the policy does not define gives no result, and no allowance."""
    undefined = rego("package qpher\n\nother := true\n")
    refused = pytest.raises(PolicyUnavailable, match="no boolean result")
    with answering(undefined) as host, refused:
        ask(f"opa+http://{host}/v1/data/qpher/allow")


def test_plain_json_gets_the_request_and_gives_reasons() -> None:
    """The engine sees the whole request; its rule and reason reach the caller."""
    seen: list[object] = []

    def answer(document: object) -> tuple[int, dict[str, str], bytes]:
        seen.append(document)
        return 200, {}, b'{"allow": false, "rule": "lunch", "reason": "not at noon"}'

    with answering(answer) as host:
        decision = ask(f"http://{host}/")
    assert (decision.allow, decision.rule, decision.reason) == (False, "lunch", "not at noon")
    assert isinstance(seen[0], dict)
    assert seen[0].keys() == {
        *("tenant_id", "plan", "actor", "scopes", "action", "features", "key_name", "algorithm"),
        *("key_version", "key_state", "context_keys", "payload_bytes", "time", "source"),
    }


@BOTH
@pytest.mark.parametrize("name", HTTP_ANSWERS)
def test_no_other_answer_allows(scheme: str, name: str) -> None:
    """Each wrong answer makes the engine unavailable."""
    with answering(HTTP_ANSWERS[name]) as host, pytest.raises(PolicyUnavailable):
        ask(f"{scheme}://{host}/")


@BOTH
def test_servers_that_hang_up(scheme: str) -> None:
    """A connection refused, closed at once or in the middle of an answer is no allowance."""
    with hanging_up() as host:
        gone = host
        with pytest.raises(PolicyUnavailable):
            ask(f"{scheme}://{host}/")
    with pytest.raises(PolicyUnavailable):
        ask(f"{scheme}://{gone}/")
    half = b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"result":true,"allow":true}'
    with hanging_up(half) as host, pytest.raises(PolicyUnavailable):
        ask(f"{scheme}://{host}/")


@BOTH
@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\n", b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"']
)
def test_servers_that_hang(scheme: str, first: bytes) -> None:
    """A server that says nothing, or stops in the middle, costs the deadline and no more."""
    with hanging_up(first, wait=True) as host:
        started = time.monotonic()
        with pytest.raises(PolicyUnavailable):
            ask(f"{scheme}://{host}/", deadline=0.1)
        assert time.monotonic() - started < 5


def test_nothing_is_done_while_the_engine_is_gone(url: str) -> None:
    """Through the service: refused, recorded as denied, nothing released."""
    with hanging_up() as host, qpher_core.open(url, policy=f"http://{host}/") as kms:
        session = kms.session("acme", actor="test")
        with pytest.raises(PolicyUnavailable):
            session.kem.encrypt(b"x")
    with qpher_core.open(url) as kms:
        last = [*kms.session("acme", actor="test").audit.entries()][-1]
        assert (last.fields["action"], last.fields["outcome"]) == ("kem.encrypt", "denied")
        assert kms.audit.verify("acme").ok


def _counting(answers: list[bytes]) -> Callable[[object], tuple[int, dict[str, str], bytes]]:
    lock = threading.Lock()

    def answer(_: object) -> tuple[int, dict[str, str], bytes]:
        with lock:
            return 200, {}, answers.pop(0)

    return answer


def test_cached_decisions_end_with_a_policy_change() -> None:
    """One answer serves the same request again, until it is old or a stored policy changes."""
    yes, no = b'{"allow":true}', b'{"allow":false}'
    store = open_store("memory:", parameter="url")
    with answering(_counting([yes, no, yes, no, yes])) as host:
        engine = RemoteEngine(
            f"http://{host}/", deadline=30, cache_seconds=60, records=store.policies
        )
        assert [engine.decide(REQUEST).allow for _ in range(3)] == [True] * 3
        assert not engine.decide(evolve(REQUEST, payload_bytes=1)).allow
        assert not engine.decide(evolve(REQUEST, payload_bytes=1)).allow
        for owner, allowed in ((None, True), (REQUEST.tenant_id, False), (uuid.uuid4(), False)):
            store.commit(lambda w, owner=owner: w.policies.insert(PolicyDocument(owner, 1, "[]")))
            assert engine.decide(REQUEST).allow is allowed
        engine.close()
        short = RemoteEngine(
            f"http://{host}/", deadline=30, cache_seconds=1e-9, records=store.policies
        )
        assert short.decide(REQUEST).allow
        with pytest.raises(PolicyUnavailable):
            short.decide(REQUEST)  # asked again: the server has no answer left
        short.close()


def test_failures_are_not_cached() -> None:
    """An engine that comes back is asked again at once."""
    store = open_store("memory:", parameter="url")
    with answering(_counting([b"{}", b'{"allow":true}'])) as host:
        engine = RemoteEngine(
            f"http://{host}/", deadline=30, cache_seconds=60, records=store.policies
        )
        with pytest.raises(PolicyUnavailable):
            engine.decide(REQUEST)
        assert engine.decide(REQUEST).allow
        engine.close()


def test_a_url_says_how_long_answers_serve(url: str) -> None:
    """With ``#cache=`` one answer serves equal requests until the stored rules change."""
    with answering(_counting([b'{"allow":true}', b'{"allow":false}'])) as host:
        policy = f"http://{host}/#deadline=30&cache=60"
        with qpher_core.open(url, policy=policy, policy_deadline=60) as kms:
            session = kms.session("acme", actor="test")
            for _ in range(3):
                assert session.signatures.sign(b"m").signature
            kms.policies.set('[{"rule": "plan"}]', tenant="acme")
            with pytest.raises(PermissionDenied):
                session.signatures.sign(b"m")


@pytest.mark.parametrize(
    "url",
    [
        *("opa+http:", "http://", "https:/x", "opa+https://", "http://x/#cache=61"),
        *("http://x/#cache=-1", "http://x/#cache=nan", "http://x/#deadline=0", "http://x/#cache"),
        *("http://x/#deadline=61", "http://x/#cash=1", "http://x/#cache=1=1"),
    ],
)
def test_urls(url: str) -> None:
    """The URL must name a host, and nothing behind it but seconds within their bounds."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open("memory:", policy=url)
    assert caught.value.parameter == "policy"


@pytest.mark.parametrize("wrong", [-1, "1", True, None, float("nan"), float("inf"), 86_401])
@pytest.mark.parametrize("parameter", ["deadline", "cache_seconds"])
def test_seconds_are_checked(parameter: str, wrong: Any) -> None:
    """An engine whose seconds are none is not made."""
    with (
        closing(open_store("memory:", parameter="url")) as store,
        pytest.raises(ValidationError) as caught,
    ):
        RemoteEngine("http://x/", records=store.policies, **{parameter: wrong})
    assert caught.value.parameter == parameter


def test_headers_are_sent_and_not_shown() -> None:
    """A credential reaches the engine and no representation."""
    with answering(saying(b'{"allow":true}')) as host:
        engine = RemoteEngine(f"http://{host}/", headers={"authorization": "Bearer canary"})
        assert engine.decide(REQUEST).allow
        assert "canary" not in repr(engine)
        engine.close()
        engine.close()


@BOTH
def test_the_environment_is_not_asked(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy of the environment gets the request, no credentials of it go to the engine."""
    seen: list[Mapping[str, str]] = []

    def answer(_method: str, _target: str, headers: Mapping[str, str]) -> Answer:
        seen.append(headers)
        return 200, {}, b'{"allow":true,"result":true}'

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with hanging_up() as proxy, replying(answer) as host:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy}")
        assert ask(host.replace("http", scheme)).allow
    assert "authorization" not in {name.lower() for name in seen[0]}


def test_certificates_that_are_none() -> None:
    """A file of certificates that is not there is refused by name."""
    with pytest.raises(ValidationError) as caught:
        RemoteEngine("https://opa.example/", verify="/no/such/file")
    assert caught.value.parameter == "verify"
