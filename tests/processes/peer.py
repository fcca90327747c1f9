# SPDX-License-Identifier: Apache-2.0
"""A process that does with a store what it is told: ``python -m tests.processes.peer URL``.

Each line on its input is ``<method> <arguments as JSON>``; each answer is ``ok <JSON>`` or
``error <class> <message>``.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import qpher_core

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"


def _rotate_many(session: qpher_core.Session, times: int) -> list[list[int]]:
    """Rotate and use the key that is active, again and again; return the versions that were."""
    used = []
    for _ in range(times):
        rotated = session.keys.rotate(KEM).key_version
        box = session.kem.encrypt(b"m")
        clear = session.kem.decrypt(box.ciphertext, box.key_version)
        if clear.plaintext != b"m":
            raise AssertionError("decrypted something else")
        used.append([rotated, box.key_version])
    return used


COMMANDS: dict[str, Callable[..., Any]] = {
    "encrypt": lambda s: s.kem.encrypt(b"m").ciphertext.hex(),
    "decrypt": lambda s, box, version: s.kem.decrypt(bytes.fromhex(box), version).plaintext.hex(),
    "sign": lambda s: s.signatures.sign(b"m", algorithm=SIGNATURE).key_version,
    "state": lambda s, version: str(s.keys.get(KEM, version).state),
    "rotate_many": _rotate_many,
}


def main(url: str) -> None:
    """Answer until the input ends."""
    settings = qpher_core.AnchorSettings(every_seconds=None)
    with qpher_core.open(url, anchors=settings) as kms:
        session = kms.session("acme", actor="peer")
        for line in sys.stdin:
            name, _, arguments = line.partition(" ")
            try:
                answer = "ok " + json.dumps(COMMANDS[name](session, *json.loads(arguments)))
            except qpher_core.QpherError as error:
                answer = f"error {type(error).__name__} {error}"
            sys.stdout.write(answer.replace("\n", " ") + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
