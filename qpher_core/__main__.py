# SPDX-License-Identifier: Apache-2.0
"""``python -m qpher_core``: the command line, where its script is not on the path."""

from qpher_core.cli.main import main

if __name__ == "__main__":
    main(prog_name="qpher-core")
