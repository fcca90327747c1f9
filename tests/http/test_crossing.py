# SPDX-License-Identifier: Apache-2.0
"""Every endpoint crossed with everything that must stop it; docs/http.md has the table."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from attrs import define, frozen

import qpher_core
from qpher_core.api_key_format import make_secret
from qpher_core.api_keys import SCOPES
from qpher_core.asgi import Settings, create_app
from qpher_core.asgi.endpoint import Endpoint
from qpher_core.asgi.table import BASE, ENDPOINTS
from qpher_core.errors import StoreUnavailable
from qpher_core.models import Decision, PolicyRequest
from qpher_core.operations import OPERATIONS, Recording
from qpher_core.service import Qpher
from tests.http.samples import Sample, prepare
from tests.http.server import serving
from tests.world import Snapshot, snapshot

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "http.md"
_TABLE: Final = re.compile(r"(<!-- statuses -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@define
class Engine:
    """A policy engine that can be told what to do."""

    mode: str = "allow"
    may_block = False

    def decide(self, _: PolicyRequest) -> Decision:
        """Allow, deny, or fail."""
        if self.mode == "dead":
            raise ConnectionError("canary")
        return Decision(self.mode == "allow", "test", "so it was told")


@frozen
class World:
    """A served service: the tenant that has everything, another one, their API keys."""

    kms: Qpher
    engine: Engine
    client: httpx.Client
    samples: Mapping[tuple[str, str], Sample]
    secrets: Mapping[str, str]

    def ask(self, endpoint: Endpoint, key: str | None, **changes: Any) -> httpx.Response:
        """Send the sample of an endpoint; ``content`` takes the place of its body."""
        sample = self.samples[endpoint.method, endpoint.path]
        headers = {} if key is None else {"x-api-key": self.secrets[key]}
        content = changes.get("content")
        if content is None and sample.body is not None:
            content = json.dumps(sample.body).encode()
        if content is not None:
            headers["content-type"] = "application/json"
        return self.client.request(
            endpoint.method,
            BASE + sample.path,
            params=sample.query,
            content=content,
            headers=headers,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Serve a service on which every sample succeeds."""
    engine = Engine()
    url = f"sqlite:///{tmp_path_factory.mktemp('crossing')}/q.db"
    with qpher_core.open(url, policy=engine) as kms:
        for name in ("acme", "other"):
            kms.tenants.create(name)
        samples = prepare(kms, "acme")
        secrets = {
            "good": kms.api_keys.create("acme", name="good", scopes=SCOPES)[1],
            "wrong": make_secret()[1],
            "other": kms.api_keys.create("other", scopes=set(SCOPES) - {"admin"})[1],
        }
        for scope in SCOPES:
            secrets[scope] = kms.api_keys.create("acme", name=scope, scopes=(scope,))[1]
        key, secrets["revoked"] = kms.api_keys.create("acme", name="revoked", scopes=SCOPES)
        kms.api_keys.revoke("acme", key.id)
        settings = Settings(largest_body=1 << 17)
        with serving(create_app(kms, settings)) as base, httpx.Client(base_url=base) as client:
            yield World(kms, engine, client, samples, secrets)


def _with_engine(mode: str) -> Callable[[World, Endpoint], httpx.Response]:
    def attempt(world: World, endpoint: Endpoint) -> httpx.Response:
        world.engine.mode = mode
        try:
            return world.ask(endpoint, "good")
        finally:
            world.engine.mode = "allow"

    return attempt


def _without_log(world: World, endpoint: Endpoint) -> httpx.Response:
    def commit(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.kms._store, "commit", commit)
        return world.ask(endpoint, "good")


def _wrong_scope(world: World, endpoint: Endpoint) -> httpx.Response:
    needed = {OPERATIONS[action].scope for action in endpoint.operations}
    wrong = next(scope for scope in ("audit", "kem", "keys") if scope not in needed)
    return world.ask(endpoint, wrong)


def _wrong_types(world: World, endpoint: Endpoint) -> httpx.Response | None:
    body = world.samples[endpoint.method, endpoint.path].body
    if body is None:
        return None
    twisted = {name: [] if isinstance(value, int | str) else "x" for name, value in body.items()}
    return world.ask(endpoint, "good", content=json.dumps(twisted).encode())


def _with_body(content: bytes) -> Callable[[World, Endpoint], httpx.Response | None]:
    def attempt(world: World, endpoint: Endpoint) -> httpx.Response | None:
        return None if endpoint.body is None else world.ask(endpoint, "good", content=content)

    return attempt


def _oversized(world: World, endpoint: Endpoint) -> httpx.Response | None:
    if endpoint.body is None:
        return None
    return world.ask(endpoint, "good", content=b'"' + b"x" * (1 << 20) + b'"')


#: What stops a request, in the order of the gateway's stages.
CASES: Final[Mapping[str, Callable[[World, Endpoint], httpx.Response | None]]] = {
    "no key": lambda world, endpoint: world.ask(endpoint, None),
    "wrong key": lambda world, endpoint: world.ask(endpoint, "wrong"),
    "revoked key": lambda world, endpoint: world.ask(endpoint, "revoked"),
    "other tenant": lambda world, endpoint: world.ask(endpoint, "other"),
    "wrong scope": _wrong_scope,
    "policy denies": _with_engine("deny"),
    "policy dead": _with_engine("dead"),
    "log dead": _without_log,
    "oversized": _oversized,
    "malformed": _with_body(b'{"a": '),
    "wrong types": _wrong_types,
}

#: Endpoints of the caller's own: another tenant sees its own there.
_OWN: Final = {"/tenants", "/tenants/", "/tenants/me", "/kms/keys", "/kms/keys/import/parameters"}

#: Reads that anchor the log first.
_ANCHORING: Final = {"/audit/export", "/admin/tenants/{tenant_id}/audit/export"}


def _reads(endpoint: Endpoint) -> bool:
    rows = [OPERATIONS[action] for action in endpoint.operations]
    return all(row.recording is Recording.REFUSALS for row in rows)


def _expected(endpoint: Endpoint, case: str) -> set[int]:
    """Return the statuses that the documentation promises."""
    open_to_all = "usage.read" in endpoint.operations and not endpoint.administrative
    invalid = 400 if endpoint.sdk else 422
    unrecorded = _reads(endpoint) and endpoint.path not in _ANCHORING
    table: dict[str, set[int]] = {
        "no key": {401},
        "wrong key": {401},
        "revoked key": {401},
        "wrong scope": {200} if open_to_all else {403},
        "policy denies": {403},
        "policy dead": {503},
        "log dead": {200} if unrecorded else {503},
        "oversized": {413},
        "malformed": {400},
        "wrong types": {invalid},
    }
    return table[case]


def _of_another(endpoint: Endpoint) -> set[int]:
    """Return what another tenant may get for identifiers that are not its own."""
    if (endpoint.method == "GET" and endpoint.path in _OWN) or endpoint.path.startswith("/audit/"):
        return {200, 404}  # its own, of which it has nothing
    if endpoint.path == "/policies/decide":
        return {200}  # about itself
    if endpoint.path == "/kms/keys/generate":
        return {201}  # of its own
    if endpoint.path == "/kms/keys/import":
        return {400}  # wrapped for the other, and of no use to this one
    if "tenants" in endpoint.path or endpoint.path.startswith("/admin"):
        return {403}
    return {404}


@pytest.fixture(scope="module")
def table(world: World) -> dict[tuple[str, str], dict[str, int | None]]:
    """Ask every endpoint in every case; what each refused left the store as it was."""
    found: dict[tuple[str, str], dict[str, int | None]] = {}
    for endpoint in ENDPOINTS:
        row = found[endpoint.method, endpoint.path] = {}
        for case, attempt in CASES.items():
            before = _content(snapshot(world.kms))
            answer = attempt(world, endpoint)
            row[case] = None if answer is None else answer.status_code
            if answer is None:
                continue
            where = (endpoint.method, endpoint.path, case, answer.text)
            assert _content(snapshot(world.kms)) == before, where
            _check_form(answer)
            if case == "other tenant":
                assert answer.status_code in _of_another(endpoint), where
                _check_secrecy(world, answer)
            else:
                assert answer.status_code in _expected(endpoint, case), where
    return found


def _content(taken: Snapshot) -> object:
    """Return what a refused request must leave as it was: all but the log, which grows."""
    return taken.tenants, taken.keys, taken.policies


def _check_form(answer: httpx.Response) -> None:
    """Check the envelope, and that an error shows nothing of the inside."""
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code < 400:
        return
    document = answer.json()
    assert set(document) == {"error", "request_id", "timestamp"}
    assert re.fullmatch(r"ERR_[A-Z_]+_\d{3}", document["error"]["error_code"])
    assert document["request_id"] == answer.headers["x-request-id"]
    assert "canary" not in answer.text
    assert "Traceback" not in answer.text


def _check_secrecy(world: World, answer: httpx.Response) -> None:
    """Check that another tenant sees nothing of this one."""
    acme = world.kms.tenants.get("acme")
    assert str(acme.id) not in answer.text
    assert "acme" not in answer.text


def test_every_case_has_its_status(
    table: dict[tuple[str, str], dict[str, int | None]],
) -> None:
    """Each endpoint answers each case with the status that is documented."""
    assert len(table) == len(ENDPOINTS)
    statuses = {status for row in table.values() for status in row.values()}
    assert 500 not in statuses


def test_the_page_has_the_table(table: dict[tuple[str, str], dict[str, int | None]]) -> None:
    """docs/http.md shows the statuses that were seen (QPHER_WRITE_TABLE=1 writes them)."""
    lines = [
        "| endpoint | " + " | ".join(CASES) + " |",
        "|---" * (len(CASES) + 1) + "|",
        *(
            f"| {method} {path} | "
            + " | ".join("n/a" if status is None else str(status) for status in row.values())
            + " |"
            for (method, path), row in table.items()
        ),
    ]
    text = "\n".join(lines) + "\n"
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("QPHER_WRITE_TABLE"):
        page = _TABLE.sub(lambda match: match[1] + text + match[3], page)
        PAGE.write_text(page, encoding="utf-8")
    found = _TABLE.search(page)
    assert found is not None
    assert found[2] == text


def test_refusals_are_in_the_log(
    world: World, table: dict[tuple[str, str], dict[str, int | None]]
) -> None:
    """Denials by scope and policy, and dead engines, left entries; the log is whole."""
    reasons = {
        entry.fields["reason"].partition(":")[0]
        for entry in world.kms._store.audit.read(world.kms.tenants.get("acme").id)
        if entry.fields["outcome"] == "denied"
    }
    assert {"ERR_FORBIDDEN_001", "ERR_POLICY_001", "ERR_SERVICE_001"} <= reasons
    assert world.kms.audit.verify("acme").ok


def test_every_sample_succeeds(world: World) -> None:
    """Nothing above failed for another reason: with the right key each request succeeds.

    The other tests of this module come first: these requests change the state.
    """
    for endpoint in ENDPOINTS:
        answer = world.ask(endpoint, "good")
        where = (endpoint.method, endpoint.path, answer.text)
        assert answer.status_code == endpoint.status, where
        if endpoint.answer is not None:
            assert set(answer.json()) == {"data", "request_id", "timestamp"}, where


def test_every_change_is_made_once(tmp_path: Path) -> None:
    """With an ``Idempotency-Key`` each request that changes state is made once."""
    changing = [endpoint for endpoint in ENDPOINTS if endpoint.changes]
    assert [e for e in ENDPOINTS if e.method != "GET" and _changes(e)] == changing
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as kms:
        kms.tenants.create("acme")
        samples = prepare(kms, "acme")
        key = kms.api_keys.create("acme", name="good", scopes=SCOPES)[1]
        with serving(create_app(kms)) as base, httpx.Client(base_url=base, timeout=60) as client:
            for number, endpoint in enumerate(changing):
                sample = samples[endpoint.method, endpoint.path]
                headers = {"x-api-key": key, "idempotency-key": str(number)}
                answers, states = [], []
                for _ in range(2):
                    answers.append(
                        client.request(
                            endpoint.method,
                            BASE + sample.path,
                            json=sample.body if endpoint.body else None,
                            headers=headers,
                        )
                    )
                    states.append(_state(kms))
                assert answers[0].status_code == endpoint.status, answers[0].text
                assert answers[0].content == answers[1].content
                assert answers[1].headers["idempotency-replayed"] == "true"
                assert states[0] == states[1], endpoint.path


def _changes(endpoint: Endpoint) -> bool:
    """Return whether one of its operations changes more than the log."""
    rows = [OPERATIONS[action] for action in endpoint.operations]
    return any(
        row.recording is Recording.ALWAYS and row.scope not in {"kem", "signatures", "policies"}
        for row in rows
    )


def _state(kms: Qpher) -> object:
    """Return what a repetition must leave as it is."""
    taken = snapshot(kms)
    api_keys = kms.api_keys.list("acme")
    return taken.tenants, taken.keys, [(key.id, key.version, key.revoked_at) for key in api_keys]
