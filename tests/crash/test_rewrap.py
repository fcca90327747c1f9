# SPDX-License-Identifier: Apache-2.0
"""A rewrap that is killed again and again: no key is lost, and the rest is moved later."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import qpher_core
from qpher_core.discovery import open_protector
from tests.contract.table import BACKENDS, backends

KILLS = int(os.environ.get("QPHER_CRASH_KILLS", "0")) // 10 or 4
KEYS = 40
KEM = "ML-KEM-768"

REWRAP = """
import sys, qpher_core
from qpher_core import service_protector
service_protector._PAGE = 2
url, target, *others = sys.argv[1:]
with qpher_core.open(url, protector=[target, *others]) as kms:
    report = kms.protector.rewrap(target, progress=lambda *_: print("page", flush=True))
    print("moved", report.moved, flush=True)
"""


@pytest.mark.parametrize("backend", backends(durable=True))
def test_no_key_is_lost(backend: str, tmp_path: Path) -> None:
    """Killed at any moment, every key still opens with both KEKs; the next run finishes."""
    url = BACKENDS[backend].url(tmp_path)
    keks = [f"file://{tmp_path}/0.kek", f"file://{tmp_path}/1.kek"]
    open_protector(keks[1], create=True).close()
    boxes = []
    with qpher_core.open(url, protector=keks[0]) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        for number in range(KEYS):
            session.keys.generate(KEM, name=f"k{number}")
            boxes.append(session.kem.encrypt(b"m", name=f"k{number}").ciphertext)
    choose = random.Random(5)
    killed = 0
    while killed < KILLS:
        process = subprocess.Popen(
            [sys.executable, "-c", REWRAP, url, keks[1], keks[0]],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(choose.randint(1, 4)):
            process.stdout.readline()
        time.sleep(choose.uniform(0, 0.005))
        process.send_signal(signal.SIGKILL)
        finished = "moved" in process.stdout.read()
        process.wait()
        process.stdout.close()
        killed += not finished
        with qpher_core.open(url, protector=keks) as kms:
            session = kms.session("acme", actor="test")
            for number, box in enumerate(boxes):
                assert session.kem.decrypt(box, 1, name=f"k{number}").plaintext == b"m"
            pending = kms.protector.status().pending
        if finished or not pending:
            break
    with qpher_core.open(url, protector=keks[::-1]) as kms:
        report = kms.protector.rewrap(keks[1])
        assert len(report.replaced) == 1
        assert kms.protector.status().pending == 0
        assert kms.audit.verify().ok
    assert killed > 0
    with qpher_core.open(url, protector=keks[1]) as kms:
        session = kms.session("acme", actor="test")
        assert session.kem.decrypt(boxes[-1], 1, name=f"k{KEYS - 1}").plaintext == b"m"
