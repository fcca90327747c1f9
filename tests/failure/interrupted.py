# SPDX-License-Identifier: Apache-2.0
"""Interrupt a thread, as Ctrl-C does, while others work: ``interrupted.py URL SECONDS``."""

import random
import signal
import sys
import threading
import time

import qpher_core

KEM = "ML-KEM-768"


class Interrupt(BaseException):
    """What a signal raises, wherever the main thread is."""


def _raise(*_: object) -> None:
    raise Interrupt


def _attempt(session: qpher_core.Session, choose: random.Random) -> bool:
    """Run one operation under a timer; return whether it was interrupted."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, choose.uniform(0.0001, 0.006))
            if choose.random() < 0.7:
                session.kem.encrypt(b"m")
            else:
                session.keys.rotate(KEM)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (Interrupt, qpher_core.AuditUnavailable):  # the latter where it hit SQLite's rollback
        return True
    return False


def main(url: str, seconds: float) -> None:
    """Interrupt as often as there is time for, then see that everybody works on."""
    signal.signal(signal.SIGALRM, _raise)
    with qpher_core.open(url, primitives="openssl") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate(KEM)
        stop = threading.Event()
        counts = [0, 0, 0]

        def work(number: int) -> None:
            while not stop.is_set():
                try:
                    session.kem.encrypt(b"m")
                except qpher_core.AuditUnavailable:
                    continue  # its leader was interrupted
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(3)]
        for thread in threads:
            thread.start()
        choose, interrupts = random.Random(1), 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            interrupts += _attempt(session, choose)
        before = list(counts)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(
            n == b for n, b in zip(counts, before, strict=True)
        ):
            time.sleep(0.05)
        going_on = all(n > b for n, b in zip(counts, before, strict=True))
        stop.set()
        active = session.keys.list(KEM, state="active")
        sys.stdout.write(f"{interrupts} {going_on} {kms.audit.verify('acme').ok} {len(active)}\n")
        for thread in threads:
            thread.join(20)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
