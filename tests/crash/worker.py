# SPDX-License-Identifier: Apache-2.0
"""A process that works on a store with several threads until it is killed.

``python worker.py URL SEED`` writes one line for each operation that was acknowledged to it:
``<seq> <hash of the audit entry>``.
"""

import random
import sys
import threading
from collections.abc import Callable

import qpher_core
from qpher_core.models import Receipt

TENANT = "acme"
KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"

_output = threading.Lock()


def acknowledge(receipt: Receipt) -> None:
    """Tell the parent, in one write, that an operation was acknowledged."""
    with _output:
        sys.stdout.write(f"{receipt.seq} {receipt.hash.hex()}\n")
        sys.stdout.flush()


def rotate(session: qpher_core.Session, choose: random.Random) -> None:
    """Rotate a key that must always have one active version."""
    acknowledge(session.keys.rotate(choose.choice((KEM, SIGNATURE)), name="main").receipt)


def encrypt(session: qpher_core.Session, _: random.Random) -> None:
    """Encrypt and decrypt."""
    box = session.kem.encrypt(b"a message", name="main")
    acknowledge(box.receipt)
    clear = session.kem.decrypt(box.ciphertext, box.key_version, name="main")
    acknowledge(clear.receipt)
    if clear.plaintext != b"a message":
        raise AssertionError("decrypted something else")


def sign(session: qpher_core.Session, _: random.Random) -> None:
    """Sign and verify."""
    signed = session.signatures.sign(b"a message", algorithm=SIGNATURE, name="main")
    acknowledge(signed.receipt)
    checked = session.signatures.verify(
        b"a message", signed.signature, signed.key_version, SIGNATURE, name="main"
    )
    acknowledge(checked.receipt)
    if not checked.valid:
        raise AssertionError("the signature is not valid")


def live(session: qpher_core.Session, choose: random.Random) -> None:
    """Walk a key through its states; its only witness is the log."""
    keys, name = session.keys, f"side-{choose.randrange(3)}"
    version = keys.generate(KEM, name=name).version
    moves: list[Callable[..., object]] = [keys.suspend, keys.resume, keys.retire, keys.archive]
    for move in moves[choose.randrange(3) :]:
        try:
            move(KEM, version, name=name)
        except qpher_core.StateConflict:
            return


ROLES: tuple[Callable[[qpher_core.Session, random.Random], None], ...] = (
    rotate,
    encrypt,
    sign,
    live,
)


def main(url: str, seed: int) -> None:
    """Work until killed."""
    kms = qpher_core.open(url, primitives="openssl")
    session = kms.session(TENANT, actor="worker")

    def run(role: Callable[[qpher_core.Session, random.Random], None], number: int) -> None:
        choose = random.Random(f"{seed} {number}")
        while True:
            role(session, choose)

    threads = [threading.Thread(target=run, args=(r, n)) for n, r in enumerate(ROLES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
