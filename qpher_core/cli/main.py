# SPDX-License-Identifier: Apache-2.0
"""The command ``qpher-core``. Groups of subcommands live in modules of their own."""

import sys

try:
    import click
except ImportError:  # pragma: no cover - an installation without the extra
    sys.exit("qpher-core needs packages that are missing: pip install 'qpher-core[cli]'")

from qpher_core.cli.api_key import api_key
from qpher_core.cli.audit import audit
from qpher_core.cli.bench import bench
from qpher_core.cli.init import init
from qpher_core.cli.protector import protector
from qpher_core.cli.serve import serve
from qpher_core.cli.tenant import tenant

__all__ = ["main"]


@click.group()
@click.version_option(package_name="qpher-core")
def main() -> None:
    """Post-quantum key infrastructure."""


for command in (api_key, audit, bench, init, protector, serve, tenant):
    main.add_command(command)
