# SPDX-License-Identifier: Apache-2.0
"""Try one operation under a limit of the operating system.

``python limited.py LIMIT URL OPERATION`` prints the name and text of the error that it ended
with, or ``released``. LIMIT is ``full`` (no file may grow) or ``read-only`` (another user).
"""

import os
import resource
import sys

import qpher_core
from tests.failure.conftest import OPERATIONS

NOBODY = 65534


def main(limit: str, url: str, name: str) -> None:
    """Open the store as it is, then limit, then try."""
    if limit == "read-only":
        qpher_core.open(url).close()  # import while everything may be read
        os.setuid(NOBODY)
    try:
        with qpher_core.open(url) as kms:
            session = kms.session("acme", actor="test")
            if limit == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
            OPERATIONS[name](session)
    except qpher_core.QpherError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}")
    else:
        sys.stdout.write("released")


if __name__ == "__main__":
    main(*sys.argv[1:])
