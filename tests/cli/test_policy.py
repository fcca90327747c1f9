# SPDX-License-Identifier: Apache-2.0
"""``qpher-core policy`` beyond the transcripts."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import qpher_core
from qpher_core.cli.main import main


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return the URL of a store with one tenant."""
    url = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
    return url


def run(*words: str, text: str | None = None) -> tuple[int, str]:
    """Run a command; return its exit status and output."""
    done = CliRunner().invoke(main, ["policy", *words], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_rules_of_a_tenant_are_set_and_read(store: str) -> None:
    """What is set comes back, with its revision, earlier ones too; who did is recorded."""
    at = ("--store", store, "--tenant", "acme")
    assert run("show", *at) == (0, "no rules of its own\n")
    assert json.loads(run("show", *at, "--json")[1]) is None
    rules = '[{"rule": "deny", "actions": ["kem.encrypt"]}]'
    assert run("set", "-", *at, text=rules)[0] == 0
    assert run("set", "-", *at, text="[]")[0] == 0
    shown = json.loads(run("show", *at, "--revision", "1", "--json")[1])
    assert shown == {"revision": 1, "rules": rules}
    assert run("diff", "2", "2", *at) == (0, "")
    with qpher_core.open(store) as kms:
        actors = [e.fields["actor"] for e in kms.session("acme", actor="x").audit.entries()]
    assert str(actors[-1]).startswith("cli:")


def test_broken_rules_change_nothing(store: str) -> None:
    """Rules that are none are refused before anything is written."""
    status, output = run("set", "-", "--store", store, text='[{"rule": "what"}]')
    assert status == 2
    assert "line 1" in output
    assert json.loads(run("show", "--store", store, "--json")[1])["revision"] == 1


def test_a_request_is_explained(store: str) -> None:
    """Addresses and times are checked; the first denial decides."""
    at = ("kem.encrypt", "--tenant", "acme", "--store", store)
    assert run("explain", *at, "--algorithm", "ML-KEM-768")[0] == 0
    assert run("explain", *at, "--source", "nowhere")[0] == 2
    assert run("explain", *at, "--at", "2026-01-31")[0] == 2
    night = '[{"rule": "hours", "from": "08:00", "to": "18:00", "zone": "UTC"}]'
    assert run("set", "-", "--store", store, "--tenant", "acme", text=night)[0] == 0
    assert run("explain", *at, "--at", "2026-01-30T03:00:00Z")[0] == 1
    assert run("explain", *at, "--at", "2026-01-30T12:00:00Z")[0] == 0
    assert run("explain", "kem.nothing", *at[1:])[0] == 2


def test_every_engine_is_explained(store: str, tmp_path: Path) -> None:
    """Scopes are part of a request; other engines decide where they are named, rules beside."""
    at = ("kem.encrypt", "--tenant", "acme", "--store", store)
    scoped = '[{"rule": "only", "scopes": ["kem"]}]'
    assert run("set", "-", "--store", store, "--tenant", "acme", text=scoped)[0] == 0
    assert run("explain", *at, "--scope", "audit")[0] == 1
    assert run("explain", *at, "--scope", "audit", "--scope", "kem")[0] == 0
    pytest.importorskip("cedarpy")
    file = tmp_path / "all.cedar"
    file.write_text('permit(principal == Actor::"clerk", action, resource);')
    both = ("--policy", "rules:", "--policy", f"cedar://{file}")
    assert run("explain", *at, *both, "--as", "clerk")[0] == 0
    status, output = run("explain", *at, *both, "--json")
    told = json.loads(output)
    assert (status, told["rule"]) == (1, "cedar")
    assert [verdict["rule"] for verdict in told["verdicts"]] == ["plan", "quota", "only"]
    assert run("explain", *at, "--policy", "http://127.0.0.1:1/")[0] == 8


def test_cedar_policies_are_checked_against_the_schema() -> None:
    """The schema is printed; a policy that does not fit it is refused."""
    pytest.importorskip("cedarpy")
    assert "namespace" in run("schema")[1] or "entity" in run("schema")[1]
    good = "permit(principal, action, resource);"
    assert run("check", "-", "--cedar", text=good)[0] == 0
    bad = 'permit(principal == Nobody::"x", action, resource);'
    assert run("check", "-", "--cedar", text=bad)[0] == 2
