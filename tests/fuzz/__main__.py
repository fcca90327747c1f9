# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.fuzz SECONDS FOLDER``: coverage-guided fuzzing of the container parsers.

Inputs that reach new code are kept in the folder, and so is the one of a finding, which ends it.
"""

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["qpher_core"]):
    from tests.fuzz.containers import one_input, seeds


def main() -> None:
    """Fuzz for so many seconds."""
    seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for given in seeds():
        (folder / hashlib.sha256(given).hexdigest()[:16]).write_bytes(given)
    options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/finding-", str(folder)],
                  one_input)  # fmt: skip
    atheris.Fuzz()


main()
