# SPDX-License-Identifier: Apache-2.0
"""The contract suite as others install it, and the example of docs/backends.md under it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def _contract(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the suite outside of this repository, as someone who installed the package does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs"]
    return subprocess.run(
        [*command, "qpher_core.testing", *options],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
    )


def _passed(output: str) -> int:
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


def test_the_example_keeps_the_contract(tmp_path: Path) -> None:
    """The example of the documentation passes the whole suite, but for what it does not promise."""
    (tmp_path / "example_backend.py").symlink_to(DOCS / "example_backend.py")
    done = _contract(tmp_path, "--qpher-store", "example_backend:ExampleStore", "--qpher-single")
    assert done.returncode == 0, done.stdout
    assert _passed(done.stdout) > 50
    assert "2 skipped" in done.stdout


@pytest.mark.parametrize(
    ("what", "failing"),
    [
        ("undo", "test_an_exception_undoes_everything"),
        ("sync", "test_what_was_committed_is_there_later"),
        ("scope", "test_every_method_is_scoped_to_its_tenant"),
    ],
)
def test_a_store_that_breaks_its_word_is_found(tmp_path: Path, what: str, failing: str) -> None:
    """A store that keeps half a transaction, forgets, or mixes up tenants fails by name."""
    source = (DOCS / "example_backend.py").read_text(encoding="utf-8")
    breaks = {
        "undo": ("return self._memory.commit(recorded)", "return recorded(self._memory)"),
        "sync": ("            if calls:\n", "            if False:\n"),
        "scope": (
            "        return getattr(self._memory, name)",
            "        return Mixed() if name == 'policies' else getattr(self._memory, name)",
        ),
    }
    before, after = breaks[what]
    assert before in source
    mixed = "\n\nclass Mixed:\n    def get(self, _):\n        return PolicyDocument(None, 1, '')\n"
    (tmp_path / "broken.py").write_text(source.replace(before, after) + mixed, encoding="utf-8")
    done = _contract(tmp_path, "--qpher-store", "broken:ExampleStore", "--qpher-single")
    assert done.returncode == 1, done.stdout
    assert f"::{failing}" in done.stdout


def test_the_store_must_be_named(tmp_path: Path) -> None:
    """Without the option the suite says what is missing."""
    done = _contract(tmp_path, "-x")
    assert done.returncode != 0
    assert "--qpher-store package.module:function" in done.stdout + done.stderr


def test_the_example_is_about_a_hundred_lines() -> None:
    """The example is as short as the page says."""
    lines = (DOCS / "example_backend.py").read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert 80 < len(code) < 135
