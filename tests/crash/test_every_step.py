# SPDX-License-Identifier: Apache-2.0
"""A process that dies before any of the steps that an operation consists of, on every store."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.table import backends

ROOT = Path(__file__).resolve().parents[2]


def _kills(what: str, backend: str, folder: Path) -> int:
    command = [sys.executable, "-m", "tests.crash.every_step", what, backend, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.fail(done.stderr[-3000:])
    return int(done.stdout)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", backends(durable=True))
def test_an_operation_happens_whole_or_not_at_all(tmp_path: Path, backend: str) -> None:
    """Killed before any step of any operation, the store holds all of it or nothing."""
    assert _kills("operations", backend, tmp_path) > 100


@pytest.mark.parametrize("backend", backends(durable=True, local=True))
def test_an_opening_that_was_cut_is_taken_up_again(tmp_path: Path, backend: str) -> None:
    """Killed before any step of its first opening, a store opens and works afterwards."""
    assert _kills("openings", backend, tmp_path) > 4
