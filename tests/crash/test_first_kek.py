# SPDX-License-Identifier: Apache-2.0
"""The first key encryption key of a store is made by one process, whole, or not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import qpher_core

OPEN = "qpher_core.open(sys.argv[1], primitives='openssl')"


def _process(script: str, url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
def test_a_kill_while_it_is_made_leaves_a_store_that_opens(tmp_path: Path, call: str) -> None:
    """Killed while the KEK is written, linked or tidied up, the store opens and works."""
    url = f"sqlite:///{tmp_path}/q.db"
    script = (
        "import os, sys, qpher_core, qpher_backends.sqlite, qpher_backends.primitives.openssl\n"
        f"os.{call} = lambda *_a, **_k: os.kill(os.getpid(), 9)\n{OPEN}"
    )
    process = _process(script, url)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        assert kms.session("acme", actor="tester").keys.generate("ML-KEM-768").version == 1
    with qpher_core.open(url) as kms:
        assert kms.audit.verify("acme").ok


def test_all_who_open_a_new_store_at_once_have_one_kek(tmp_path: Path) -> None:
    """Processes that open the same new store at once all succeed, with the same KEK."""
    url = f"sqlite:///{tmp_path}/q.db"
    script = (
        "import sys, qpher_core, qpher_backends.sqlite, qpher_backends.primitives.openssl\n"
        f"sys.stdin.readline()\nkms = {OPEN}\nprint(kms._protector.kek_id)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate() for process in processes]
    assert all(process.returncode == 0 for process in processes), answers
    assert len({out for out, _ in answers}) == 1
    assert sorted(file.name for file in tmp_path.iterdir() if "kek" in file.name) == ["q.db.kek"]
