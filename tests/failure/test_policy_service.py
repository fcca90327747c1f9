# SPDX-License-Identifier: Apache-2.0
"""Policy that another qpher-core service decides, over real sockets, and its failures."""

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from attrs import evolve

import qpher_core
from qpher_backends.remote import RemotePolicy
from qpher_core import (
    PermissionDenied,
    PolicyUnavailable,
    RemoteSettings,
    ValidationError,
)
from qpher_core.api_key_format import make_secret
from qpher_core.asgi import create_app
from qpher_core.service import Qpher
from tests.failure.elsewhere import saying, telling
from tests.failure.wire import dripping, proxied, replying
from tests.http.server import serving
from tests.unit.test_policy import REQUEST

KEM = "ML-KEM-768"
PATIENT = RemoteSettings(deadline=30)


@pytest.fixture
def central() -> Iterator[Qpher]:
    """Open the service that decides, with a tenant whose rules they are."""
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("branch")
        yield kms


def key_of(central: Qpher, *scopes: str) -> str:
    """Return an API key of the tenant."""
    return central.api_keys.create("branch", scopes=scopes or ("policies",))[1]


def rules(central: Qpher, *documents: object) -> None:
    """Set the tenant's rules."""
    central.policies.set(json.dumps(documents), tenant="branch")


def test_the_rules_of_one_service_hold_at_another(central: Qpher, url: str) -> None:
    """Allowed, denied with the rule's name, and changed for the very next request."""
    with serving(create_app(central)) as base:
        engine = RemotePolicy(base, key_of(central), PATIENT)
        with qpher_core.open(url, policy=engine, policy_deadline=30) as kms:
            session = kms.session("acme", actor="clerk")
            assert session.kem.encrypt(b"x").ciphertext
            rules(central, {"rule": "deny", "actions": ["kem.encrypt"]})
            with pytest.raises(PermissionDenied, match=r"kem\.encrypt") as caught:
                session.kem.encrypt(b"x")
            assert caught.value.rule == "deny"
            assert session.kem.encapsulate().shared_secret
            last = [*session.audit.entries()][-2].fields
            assert (last["action"], last["outcome"]) == ("kem.encrypt", "denied")
        assert [e["action"] for e in _log(central)][:1] == ["tenants.create"]
        assert all(e["action"] not in {"kem.encrypt", "kem.encapsulate"} for e in _log(central))


def _log(central: Qpher) -> list[dict[str, object]]:
    session = central.session("branch", actor="reader")
    return [entry.fields for entry in session.audit.entries()]


def test_the_whole_request_is_decided_on(central: Qpher) -> None:
    """Every member that rules look at arrives."""
    seen = []

    class Engine:
        may_block = False

        def decide(self, request: qpher_core.PolicyRequest) -> qpher_core.Decision:
            seen.append(request)
            return qpher_core.Decision(allow=True, rule="r", reason="why")

    with qpher_core.open("memory:", policy=Engine()) as kms:
        kms.tenants.create("branch", plan="pro")
        with (
            serving(create_app(kms)) as base,
            closing(RemotePolicy(base, key_of(kms), PATIENT)) as engine,
        ):
            decision = engine.decide(REQUEST)
        tenant = kms.tenants.get("branch")
    assert (decision.allow, decision.rule, decision.reason) == (True, "r", "why")
    assert seen[-1] == evolve(REQUEST, tenant_id=tenant.id, plan="pro")
    assert seen[-2].action == "policies.decide"


@pytest.mark.parametrize("scope", ["kem", "keys", "audit"])
def test_asking_needs_its_scope(central: Qpher, scope: str) -> None:
    """A key for other things decides nothing, and the attempt is recorded there."""
    with (
        serving(create_app(central)) as base,
        closing(RemotePolicy(base, key_of(central, scope), PATIENT)) as engine,
        pytest.raises(PolicyUnavailable, match="scope"),
    ):
        engine.decide(REQUEST)
    assert (_log(central)[-1]["action"], _log(central)[-1]["outcome"]) == (
        "policies.decide",
        "denied",
    )


@pytest.mark.parametrize(
    "answer",
    [
        saying(b""),
        saying(b"", 500),
        saying(b'{"allow":true}'),
        saying(b"x" * (1 << 20)),
        saying(b"", 302, {"Location": "/api/v1/policies/decide"}),
        telling({"allow": 1, "rule": "", "reason": ""}),
        telling({"allow": "true", "rule": "", "reason": ""}),
        telling({"allow": None, "rule": "", "reason": ""}),
        telling({"allow": True}),
        telling({"rule": "", "reason": ""}),
        telling([]),
        telling({"allow": True, "rule": "", "reason": ""}, 201),
    ],
)
def test_nothing_but_a_decision_is_one(answer: object, url: str) -> None:
    """Every other answer makes the engine unavailable; nothing is done, and that is recorded."""
    with replying(answer) as base:
        engine = RemotePolicy(base, make_secret()[1], RemoteSettings(deadline=5, attempts=1))
        with pytest.raises(PolicyUnavailable):
            engine.decide(REQUEST)
        with qpher_core.open(url, policy=engine, policy_deadline=10) as kms:
            session = kms.session("acme", actor="x")
            with pytest.raises(PolicyUnavailable):
                session.kem.encrypt(b"x")
    with qpher_core.open(url) as kms:
        last = [*kms.session("acme", actor="x").audit.entries()][-1].fields
        assert (last["action"], last["outcome"]) == ("kem.encrypt", "denied")


def test_services_that_are_gone_or_slow(central: Qpher) -> None:
    """Refused, cut, or too slow: unavailable, within the deadline."""
    with serving(create_app(central)) as base, proxied(base) as proxy:
        proxy.plan = ["lose", "half"]
        settings = RemoteSettings(deadline=5, attempts=1)
        with closing(RemotePolicy(proxy.url, key_of(central), settings)) as engine:
            for _ in range(2):
                with pytest.raises(PolicyUnavailable):
                    engine.decide(REQUEST)
            assert engine.decide(REQUEST).allow
    gone = RemotePolicy(base, make_secret()[1])
    with dripping(b"HTTP/1.1 200 OK\r\nx: ", b"y") as slow_base:
        for engine in (gone, RemotePolicy(slow_base, make_secret()[1])):
            started = time.monotonic()
            with pytest.raises(PolicyUnavailable):
                engine.decide(REQUEST)
            assert time.monotonic() - started < 10
            engine.close()


def test_the_url_takes_its_key_from_the_environment(
    central: Qpher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it is refused by name; the key itself is never shown."""
    monkeypatch.delenv("QPHER_POLICY_API_KEY", raising=False)
    for value in (None, "nonsense"):
        if value is not None:
            monkeypatch.setenv("QPHER_POLICY_API_KEY", value)
        with pytest.raises(ValidationError) as caught:
            qpher_core.open("memory:", policy="qpher+https://kms.example")
        assert caught.value.parameter == "policy"
    secret = key_of(central)
    monkeypatch.setenv("QPHER_POLICY_API_KEY", secret)
    with (
        serving(create_app(central)) as base,
        qpher_core.open("memory:", policy=f"qpher+{base}", policy_deadline=30) as kms,
    ):
        kms.tenants.create("acme")
        session = kms.session("acme", actor="x")
        made = None
        for _ in range(20):  # half a second may be short on a loaded machine
            with contextlib.suppress(PolicyUnavailable):
                made = made or session.keys.generate(KEM)
        assert made is not None
        assert secret.split("_")[2] not in repr(kms._policy)


def test_an_alias_is_the_algorithm_that_rules_name(central: Qpher) -> None:
    """Whichever name of an algorithm is asked about; one that is unknown is not decided on."""
    rules(central, {"rule": "deny", "algorithms": ["ML-KEM-768"]})
    with (
        serving(create_app(central)) as base,
        closing(RemotePolicy(base, key_of(central), PATIENT)) as engine,
    ):
        for name, allowed in (("ML-KEM-768", False), ("Kyber768", False), ("ML-KEM-1024", True)):
            assert engine.decide(evolve(REQUEST, algorithm=name)).allow is allowed
        with pytest.raises(PolicyUnavailable, match="algorithm"):
            engine.decide(evolve(REQUEST, algorithm="RSA"))
