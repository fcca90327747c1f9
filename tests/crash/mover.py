# SPDX-License-Identifier: Apache-2.0
"""A process that appends to a log, and moves its beginning out, until it is killed.

``python mover.py URL FOLDER`` writes ``<seq> <hash>`` for each entry that was acknowledged to it.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable

import qpher_core


def main(url: str, folder: str) -> None:
    """Work until killed."""
    settings = qpher_core.AnchorSettings(every_entries=5, every_seconds=0.02)
    kms = qpher_core.open(url, primitives="openssl", anchors=settings)
    session = kms.session("acme", actor="worker")

    def append() -> None:
        receipt = session.kem.encapsulate().receipt
        sys.stdout.write(f"{receipt.seq} {receipt.hash.hex()}\n")
        sys.stdout.flush()

    def run(step: Callable[[], object]) -> None:
        try:
            while True:
                step()
        except BaseException:  # noqa: BLE001 - whatever it is, it must be seen
            traceback.print_exc()
            os._exit(3)  # the parent sees that it was not its kill

    threading.Thread(target=run, args=(append,)).start()
    run(lambda: kms.audit.move_out(folder, "acme"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
