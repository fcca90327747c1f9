# SPDX-License-Identifier: Apache-2.0
"""``qpher-core protector`` as a process."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

import qpher_core

COMMAND = Path(sys.executable).parent / "qpher-core"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a store with three keys and its default protector."""
    target = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(target) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        for name in ("a", "b", "c"):
            session.keys.generate("ML-KEM-768", name=name)
    return target


def _run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [COMMAND, "protector", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout or done.stderr


def _json(*arguments: str) -> dict[str, object]:
    code, text = _run(*arguments, "--json")
    assert code == 0, text
    return dict(json.loads(text.splitlines()[-1]))


def test_show_and_rewrap(url: str, tmp_path: Path) -> None:
    """Records are counted, moved to a second KEK of the file, and from there to another file."""
    before = _json("show", "--store", url)
    assert before["records"] == {before["kek"]: 3}
    renewed = _json("rewrap", "--store", url, "--renew")
    assert (renewed["moved"], renewed["replaced"]) == (3, [before["kek"]])
    code, text = _run("show", "--store", url)
    assert code == 0
    assert f"{before['kek']}: no longer needed" in text
    moved = _json("rewrap", "--store", url, "--to", f"file://{tmp_path}/other.kek")
    assert moved["moved"] == 3
    code, text = _run("show", "--store", url)
    assert code == 8
    assert str(moved["kek"]) in text
    after = _json("show", "--store", url, "--protector", f"file://{tmp_path}/other.kek")
    assert after["records"] == {moved["kek"]: 3}
    assert _run("rewrap", "--store", url, "--to", "memory:", "--renew")[0] == 2


def test_making_keks(tmp_path: Path) -> None:
    """A KEK is made once at a place; one for a variable is printed."""
    place = f"file://{tmp_path}/made.kek"
    first, again = _run("create", place), _run("create", place)
    assert first[0] == again[0] == 0
    assert first[1].splitlines()[-1] == again[1].splitlines()[-1]
    code, text = _run("new-kek")
    assert code == 0
    assert len(base64.b64decode(text)) == 32
    assert _run("new-kek")[1] != text
