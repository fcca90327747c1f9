# SPDX-License-Identifier: Apache-2.0
"""A process that works on a store with several threads until it is killed.

``python worker.py URL FOLDER SEED`` publishes anchors to the folder, and writes one line for each
operation that was acknowledged to it: ``entry <seq> <hash>``, ``key <name> <version> <revision>``,
``policy <revision>`` or ``plan <time of the change>``.
"""

import os
import random
import sys
import threading
import traceback
from collections.abc import Callable

import qpher_core
from qpher_core.models import Receipt

TENANT = "acme"
KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"

_output = threading.Lock()


def tell(line: str) -> None:
    """Tell the parent, in one write, that an operation was acknowledged."""
    with _output:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def acknowledge(receipt: Receipt) -> None:
    """Tell of an operation that gave a receipt."""
    tell(f"entry {receipt.seq} {receipt.hash.hex()}")


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
    """Walk a key through its states."""
    keys, name = session.keys, f"side-{choose.randrange(3)}"

    def made(key: qpher_core.KeyVersion) -> int:
        tell(f"key {name} {key.version} {key.revision}")
        return key.version

    version = made(keys.generate(KEM, name=name))
    moves: list[Callable[..., qpher_core.KeyVersion]] = choose.choice(
        [
            [keys.suspend, keys.resume, keys.retire, keys.archive, keys.restore],
            [keys.retire, keys.archive, keys.destroy],
            [keys.compromise, keys.destroy],
        ]
    )
    for move in moves:
        try:
            made(move(KEM, version, name=name))
        except qpher_core.StateConflict:
            return  # another process has replaced it


Role = Callable[[qpher_core.Session, random.Random], None]

ROLES: tuple[Role, ...] = (rotate, encrypt, sign, live)


def administer(kms: qpher_core.Qpher, choose: random.Random) -> None:
    """Change policy and plan; none of them denies what the others do."""
    if choose.random() < 0.5:
        rules = choose.choice(('[{"rule":"plan"}]', '[{"rule":"payload","max_bytes":100000}]'))
        tell(f"policy {kms.policies.set(rules, tenant=TENANT).revision}")
    else:
        changed = kms.tenants.set_plan(TENANT, choose.choice((None, "enterprise")))
        tell(f"plan {changed.updated_at.isoformat()}")


def main(url: str, folder: str, seed: int) -> None:
    """Work until killed; anchor all the while, and publish."""
    published = f"file://{folder}/published"
    settings = qpher_core.AnchorSettings(
        every_entries=5, every_seconds=0.02, publishers=[published]
    )
    kms = qpher_core.open(url, primitives="openssl", anchors=settings)
    session = kms.session(TENANT, actor="worker")

    def run(role: Role, number: int) -> None:
        choose = random.Random(f"{seed} {number}")
        try:
            while True:
                role(session, choose)
        except BaseException:  # noqa: BLE001 - whatever it is, it must be seen
            traceback.print_exc()
            os._exit(3)  # the parent sees that it was not its kill

    roles: list[Role] = [*ROLES, lambda _, choose: administer(kms, choose)]
    threads = [threading.Thread(target=run, args=(r, n)) for n, r in enumerate(roles)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
