# SPDX-License-Identifier: Apache-2.0
"""``make help`` tells of every target, and the documentation names no other."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILES = [ROOT / "Makefile", ROOT / "bindings" / "native.mk"]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


@pytest.fixture(scope="module")
def told() -> set[str]:
    """Return the targets that ``make help`` tells of."""
    if shutil.which("make") is None:
        pytest.skip("make is missing")
    output = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [re.fullmatch(r"make ([a-z-]+) +\S.*", line) for line in output.stdout.splitlines()]
    return {line[1] for line in lines if line is not None}


def test_every_target_is_told(told: set[str]) -> None:
    """Nobody has to read the makefiles to find one."""
    targets = [re.findall(r"^([a-z-]+):", file.read_text(), re.MULTILINE) for file in MAKEFILES]
    assert {name for names in targets for name in names} == told


def test_the_documentation_names_no_other_target(told: set[str]) -> None:
    """What a page says to run can be run."""
    for page in PAGES:
        named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)
        assert set(named) <= told, page
