# SPDX-License-Identifier: Apache-2.0
"""A process that dies before any of the statements that an operation consists of."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _kills(what: str, folder: Path) -> int:
    command = [sys.executable, "-m", "tests.crash.every_statement", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.fail(done.stderr[-2000:])
    return int(done.stdout)


def test_an_operation_that_did_not_commit_leaves_no_trace(tmp_path: Path) -> None:
    """Killed before any statement of any operation, the store is exactly as it was before."""
    assert _kills("operations", tmp_path) > 100


def test_an_opening_that_was_cut_is_taken_up_again(tmp_path: Path) -> None:
    """Killed before any statement of its first opening, a store opens and works afterwards."""
    assert _kills("opening", tmp_path) > 20
