# SPDX-License-Identifier: Apache-2.0
"""The command ``qpher-core``. Commands and groups of them live in modules of their own."""

import sys
from typing import Final

try:
    import click
    import rich  # noqa: F401 - click alone can be there: it comes with another package
except ImportError as error:
    sys.exit(
        f"qpher-core needs a package that is missing ({error.name}): pip install 'qpher-core[cli]'"
    )

from qpher_core.cli._frame import Group
from qpher_core.cli.api_key import api_key
from qpher_core.cli.audit import audit
from qpher_core.cli.bench import bench
from qpher_core.cli.completion import completion
from qpher_core.cli.demo import demo
from qpher_core.cli.doctor import doctor
from qpher_core.cli.encrypt import decrypt, encrypt
from qpher_core.cli.init import init
from qpher_core.cli.keys import keys, rotate
from qpher_core.cli.maintain import maintain
from qpher_core.cli.migrate import migrate, rewrap
from qpher_core.cli.policy import policy
from qpher_core.cli.protector import protector
from qpher_core.cli.report import report
from qpher_core.cli.serve import serve
from qpher_core.cli.sign import sign, verify
from qpher_core.cli.tenant import tenant

__all__ = ["main"]

_COMMANDS = (
    api_key,
    audit,
    bench,
    completion,
    decrypt,
    demo,
    doctor,
    encrypt,
    init,
    keys,
    maintain,
    migrate,
    policy,
    protector,
    report,
    rewrap,
    rotate,
    serve,
    sign,
    tenant,
    verify,
)


_EXAMPLE: Final = """\
export QPHER_STORE=sqlite:///qpher.db
qpher-core tenant create acme
qpher-core keys generate ML-KEM-768
qpher-core encrypt report.pdf"""


@click.group("qpher-core", cls=Group, example=_EXAMPLE)
@click.version_option(package_name="qpher-core", prog_name="qpher-core")
def main() -> None:
    """Post-quantum key infrastructure.

    Options such as --store may come from the environment: see `qpher-core COMMAND --help`.
    """


for _command in _COMMANDS:
    main.add_command(_command)
