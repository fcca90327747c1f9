# SPDX-License-Identifier: Apache-2.0
"""SIGKILL while entries are moved out: each acknowledged entry is in the log or in a segment.

``QPHER_CRASH_KILLS`` sets how many kills there are, as in ``test_kill``.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import qpher_core
from qpher_core import VerifierKey, verify_exports
from tests.contract.table import BACKENDS, backends

DURABLE = backends(durable=True)
KILLS = -(-int(os.environ.get("QPHER_CRASH_KILLS", "14")) // len(DURABLE))  # of each store
WORKER = Path(__file__).with_name("mover.py")


def _acknowledged(url: str, folder: Path, seconds: float) -> dict[int, str]:
    """Let a worker append and move out, kill it, and return the entries it was told of."""
    command = [sys.executable, str(WORKER), url, str(folder)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    lines = [worker.stdout.readline()]
    time.sleep(seconds)
    worker.send_signal(signal.SIGKILL)
    lines += worker.stdout.readlines()
    worker.stdout.close()
    assert worker.wait() == -signal.SIGKILL, "the worker ended by itself"
    entries = (line.split() for line in lines if line.endswith("\n"))
    return {int(seq): digest for seq, digest in entries}


def _recorded(kms: qpher_core.Qpher, folder: Path) -> dict[int, str]:
    """Return place and hash of every entry of the files that hold the log, having verified it."""
    tenant = kms.tenants.get("acme")
    rest = folder / "rest.jsonl"
    kms.audit.export(rest, tenant.id)
    base = kms._store.audit.base(tenant.id)
    end = base.size if base else 0
    segments: list[Path] = []
    while end:  # an attempt that did not end leaves a file, too
        (path,) = folder.glob(f"*-{end:012d}.jsonl.gz")
        segments.append(path)
        end = int(path.name.split("-")[-2])
    keys = list(map(VerifierKey.parse, kms.anchors.keys()))
    report = verify_exports([*segments, rest], keys, processes=1)
    assert (report.ok, report.first) == (True, 0), report
    found = {}
    for path in (*segments, rest):
        file = qpher_core.audit.export.ExportFile(path)
        header, _ = file.header()
        lines = list(file.entries(header.offset))[:-1]
        for seq, line in enumerate(lines, header.base.size):
            found[seq] = qpher_core.audit.entry.digest(line[:-1]).hex()
    return found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", DURABLE)
def test_nothing_is_lost_while_entries_move(backend: str, tmp_path: Path) -> None:
    """After each kill the segments and the log are whole, and join without a gap."""
    choose = random.Random(f"moved {backend}")
    (tmp_path / "store").mkdir()
    url = BACKENDS[backend].url(tmp_path / "store")
    with qpher_core.open(url, primitives="openssl") as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
    for _ in range(KILLS):
        acknowledged = _acknowledged(url, tmp_path, choose.uniform(0.05, 0.4))
        assert acknowledged
        with qpher_core.open(url, primitives="openssl") as kms:
            assert kms.audit.verify("acme").ok
            lost = acknowledged.items() - _recorded(kms, tmp_path).items()
            assert not lost, f"acknowledged but nowhere: {sorted(lost)}"
