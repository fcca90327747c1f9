# SPDX-License-Identifier: Apache-2.0
"""``keys retire`` and ``keys destroy`` stop before what something depends on."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import qpher_core
from qpher_core.asgi import create_app
from qpher_core.cli.main import main
from tests.http.server import serving

KEM = "ML-KEM-768"


def _run(environment: dict[str, str], *words: str) -> Result:
    return CliRunner(env={"QPHER_TENANT": "acme", **environment}).invoke(main, [*words])


def _state(environment: dict[str, str], version: int) -> str:
    found = json.loads(_run(environment, "keys", "show", KEM, str(version), "--json").stdout)
    return str(found["state"])


def test_a_key_that_is_needed_is_not_let_go(environment: dict[str, str], tmp_path: Path) -> None:
    """Of a local store and of a service, unless by force; one that nothing needs goes."""
    (tmp_path / "plain").write_text("x")
    assert _run(environment, "keys", "generate", KEM).exit_code == 0
    encrypt = ("encrypt", str(tmp_path / "plain"), "-o", str(tmp_path / "box"))
    assert _run(environment, *encrypt).exit_code == 0
    for action, before, after in (
        ("retire", "active", "retired"),
        ("destroy", "archived", "destroyed"),
    ):
        words = ("keys", action, KEM, "1", *(["--yes"] if action == "destroy" else []))
        stopped = _run(environment, *words)
        assert stopped.exit_code == 1
        assert "version 1 is to be " + after in stopped.stderr
        assert "--force does it all the same" in stopped.stderr
        assert _state(environment, 1) == before
        assert _run(environment, *words, "--force").exit_code == 0
        assert _state(environment, 1) == after
        if action == "retire":
            assert _run(environment, "keys", "archive", KEM, "1").exit_code == 0
    assert _run(environment, "keys", "generate", KEM).exit_code == 0
    for words in (("retire",), ("archive",), ("destroy", "--yes")):
        assert _run(environment, "keys", words[0], KEM, "2", *words[1:]).exit_code == 0
    assert _state(environment, 2) == "destroyed"


@pytest.mark.parametrize("action", ["retire", "destroy"])
def test_what_may_not_be_asked_stops_too(tmp_path: Path, action: str) -> None:
    """Without the scope ``audit`` at a service nobody knows what depends on a key."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as kms:
        kms.tenants.create("acme")
        keys = kms.session("acme", actor="x").keys
        keys.generate(KEM)
        if action == "destroy":
            keys.compromise(KEM, 1)
        before = keys.get(KEM, 1).state
        _, secret = kms.api_keys.create("acme", scopes=("keys",))
        with serving(create_app(kms)) as base:
            environment = {"QPHER_STORE": base, "QPHER_API_KEY": secret}
            words = ("keys", action, KEM, "1", *(["--yes"] if action == "destroy" else []))
            stopped = _run(environment, *words)
            assert (stopped.exit_code, "--force" in stopped.stderr) == (4, True)
            assert keys.get(KEM, 1).state is before
            assert _run(environment, *words, "--force").exit_code == 0
        assert keys.get(KEM, 1).state is not before
