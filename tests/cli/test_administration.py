# SPDX-License-Identifier: Apache-2.0
"""``tenant``, ``api-key`` and ``policy`` on a local store and on a service elsewhere, alike."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

import qpher_core
from qpher_core.api_keys import SCOPES
from qpher_core.asgi import create_app
from qpher_core.cli.main import main
from tests.http.server import serving

Run = Callable[..., Result]


@pytest.fixture(params=["local", "service"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Yield what runs a command as an administrator."""
    url = f"sqlite:///{tmp_path}/qpher.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("operators")
        _, secret = kms.api_keys.create("operators", name="admin", scopes=SCOPES)
        if request.param == "local":
            yield runner({"QPHER_STORE": url, "QPHER_ACTOR": "alice"})
            return
        with serving(create_app(kms)) as base:
            yield runner({"QPHER_STORE": base, "QPHER_API_KEY": secret})


def runner(environment: dict[str, str]) -> Run:
    """Return what runs a command in an environment."""
    return lambda *words: CliRunner(env=environment).invoke(main, list(words))


def answer(run: Run, *words: str) -> Any:
    """Run a command that must succeed and return its JSON."""
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_tenants(run: Run) -> None:
    """A tenant is made, listed, given a plan, suspended and resumed; a missing one is status 3."""
    made = answer(run, "tenant", "create", "acme")
    assert (made["name"], made["plan"], made["status"]) == ("acme", None, "active")
    listed = answer(run, "tenant", "list")
    assert [found["name"] for found in listed] == ["acme", "operators"]
    assert answer(run, "tenant", "set-plan", "acme", "--plan", "pro")["plan"] == "pro"
    assert answer(run, "tenant", "set-plan", made["id"])["plan"] is None
    assert answer(run, "tenant", "suspend", "acme")["status"] == "suspended"
    assert answer(run, "tenant", "resume", "acme")["status"] == "active"
    assert run("tenant", "suspend", "nobody").exit_code == 3
    assert run("tenant", "create", "acme").exit_code == 5


def test_api_keys(run: Run) -> None:
    """An API key is made, listed without its secret, rotated and revoked."""
    answer(run, "tenant", "create", "acme")
    made = answer(run, "api-key", "create", "acme", "--name", "ci", "--scope", "kem", "--days", "9")
    assert made["api_key"].startswith(f"qph_{made['id']}_")
    assert (made["scopes"], made["valid"]) == ("kem", True)
    (listed,) = answer(run, "api-key", "list", "acme")
    assert listed == {name: value for name, value in made.items() if name != "api_key"}
    newer = answer(run, "api-key", "rotate", "acme", made["id"])
    assert (newer["name"], newer["version"]) == ("ci", 2)
    assert newer["api_key"] != made["api_key"]
    revoked = answer(run, "api-key", "revoke", "acme", newer["id"])
    assert revoked["valid"] is False
    assert {key["valid"] for key in answer(run, "api-key", "list", "acme")} == {False}
    assert run("api-key", "list", "nobody").exit_code == 3


def test_policies(run: Run, tmp_path: Path) -> None:
    """Rules of a tenant and of the service are set and shown; bad ones are status 2."""
    answer(run, "tenant", "create", "acme")
    rules = tmp_path / "rules.json"
    rules.write_text('[{"rule": "payload", "max_bytes": 10}]')
    assert answer(run, "policy", "show", "--tenant", "acme") is None
    assert run("policy", "set", str(rules), "--tenant", "acme").output == "revision 1 counts now\n"
    shown = answer(run, "policy", "show", "--tenant", "acme")
    assert (shown["revision"], "max_bytes" in shown["rules"]) == (1, True)
    assert answer(run, "policy", "show", "--tenant", "acme", "--revision", "1") == shown
    assert answer(run, "policy", "show")["revision"] >= 1
    rules.write_text('[{"rule": "nosuch"}]')
    assert run("policy", "set", str(rules), "--tenant", "acme").exit_code == 2
    assert answer(run, "policy", "show", "--tenant", "acme") == shown


def test_anchor_keys(run: Run) -> None:
    """The keys that anchors are verified with are printed, one in a line."""
    done = run("audit", "keys")
    assert done.exit_code == 0
    assert all(line.count("+") >= 2 for line in done.stdout.splitlines())
    assert done.stdout.splitlines()


def test_exports_of_other_tenants(run: Run, tmp_path: Path) -> None:
    """An administrator exports the log of any tenant; of a missing one no file is written."""
    answer(run, "tenant", "create", "acme")
    done = run("audit", "export", str(tmp_path / "acme.jsonl"), "--tenant", "acme")
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "acme.jsonl").read_bytes().splitlines()) >= 3
    assert run("audit", "export", str(tmp_path / "none"), "--tenant", "nobody").exit_code == 3
    assert not (tmp_path / "none").exists()


def test_maintenance_is_recorded(run: Run, tmp_path: Path) -> None:
    """Each maintenance has an entry in the log of the service; a dry run has none."""
    for words in (("maintain",), ("maintain", "--dry-run"), ("maintain", "--tenant", "operators")):
        assert run(*words).exit_code == 0, words
    assert run("maintain", "--tenant", "nobody").exit_code == 3
    chosen = ("--action", "maintenance.run", "--outcome", "success")
    assert run("audit", "export", str(tmp_path / "log"), *chosen).exit_code == 0
    assert (tmp_path / "log").read_text().count("maintenance.run") >= 2


def test_a_tenant_that_cannot_be_maintained_is_told(run: Run, tmp_path: Path) -> None:
    """Its row says why, the others are rotated, and the exit status is 1."""
    with qpher_core.open(f"sqlite:///{tmp_path}/qpher.db") as kms:
        for name in ("acme", "broken"):
            kms.tenants.create(name)
            kms.session(name, actor="x").keys.generate("ML-KEM-768")
            kms.session(name, actor="x").kem.encrypt(b"x")
            kms.policies.schedule("ML-KEM-768", tenant=name, max_uses=1)
        document = kms.policies.get("broken")
        assert document is not None
        damaged = evolve(document, revision=document.revision + 1, rules="[7]")
        kms._store.commit(lambda writer: writer.policies.insert(damaged))
    done = run("maintain", "--json")
    assert done.exit_code == 1
    rows = {row["tenant"]: row for row in json.loads(done.stdout)}
    assert (rows["acme"]["standing"], rows["acme"]["replaced_by"]) == ("rotated", 2)
    assert (rows["broken"]["standing"], rows["broken"]["name"]) == ("failed", None)
    assert "ERR_INVALID_003" in rows["broken"]["problem"]


def test_a_key_without_the_scope_administers_nothing(tmp_path: Path) -> None:
    """At a service an API key without ``admin`` is refused with status 4."""
    with qpher_core.open(f"sqlite:///{tmp_path}/qpher.db") as kms:
        kms.tenants.create("acme")
        _, secret = kms.api_keys.create("acme", scopes=("kem",))
        with serving(create_app(kms)) as base:
            run = runner({"QPHER_STORE": base, "QPHER_API_KEY": secret})
            for words in (("tenant", "list"), ("api-key", "list", "acme"), ("policy", "show")):
                assert run(*words).exit_code == 4, words
            assert run("tenant", "create", "other").exit_code == 4
            assert run("protector", "show").exit_code == 4
            assert run("protector", "rewrap").exit_code == 4
            assert run("maintain", "--dry-run").exit_code == 4
            assert run("policy", "explain", "kem.encrypt", "--tenant", "acme").exit_code == 4
            for whose in ((), ("--tenant", "acme")):
                assert run("audit", "export", str(tmp_path / "log"), *whose).exit_code == 4
            assert not (tmp_path / "log").exists()
