# SPDX-License-Identifier: Apache-2.0
"""A process that forks while other threads work with keys."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Threads make keys and sign for the first time, which takes both locks, while the process forks.
SCRIPT = """
import os, signal, threading
from qpher_native import MLDSA, MLKEM, _memory, mldsa

dsa, stop = MLDSA("ML-DSA-44"), threading.Event()

def work():
    kept = []
    while not stop.is_set():
        kept.append(dsa.generate())
        kept[-1].sign(b"m")

def hold(lock):
    while not stop.is_set():
        with lock:
            stop.wait(0.001)

threads = [threading.Thread(target=work) for _ in range(2)]
threads += [threading.Thread(target=hold, args=(l,)) for l in (_memory._growing, mldsa._preparing)]
for thread in threads:
    thread.start()
failed = 0
for _ in range(20):
    key = dsa.generate()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        good = key.public_key.verify(b"m", key.sign(b"m"))
        kept = [MLKEM("ML-KEM-512").generate() for _ in range(200)]
        os._exit(0 if good else 1)
    failed += os.waitpid(child, 0)[1] != 0
stop.set()
for thread in threads:
    thread.join()
print(failed)
"""


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    """Whatever other threads hold at that moment, a child makes keys, signs and verifies."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=250, cwd=ROOT
    )
    assert done.stdout == "0\n", done.stderr
