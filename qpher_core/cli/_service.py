# SPDX-License-Identifier: Apache-2.0
"""What commands on a store share: opening it, failing in one line, printing."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import click

import qpher_core
from qpher_core.errors import QpherError
from qpher_core.service import Qpher

__all__ = ["AS_JSON", "PROTECTORS", "URL", "opened", "show"]

_FAILED: Final = 2

URL: Final = click.argument("url", envvar="QPHER_URL")

PROTECTORS: Final = click.option(
    "--protector",
    "protectors",
    multiple=True,
    metavar="URL",
    help="Who holds the KEK; may be given several times. The store's own choice if left out.",
)

AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def opened(url: str, protectors: Sequence[str] = ()) -> Iterator[Qpher]:
    """Open a service; what goes wrong is one line and exit status 2."""
    try:
        with qpher_core.open(url, protector=list(protectors) or None) as kms:
            yield kms
    except (OSError, QpherError) as error:
        click.echo(f"cannot do it: {error}", err=True)
        sys.exit(_FAILED)


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows as JSON, or each as ``name: value`` lines."""
    if as_json:
        click.echo(json.dumps(list(rows)))
        return
    for row in rows:
        shown = ("-" if value is None else value for value in row.values())
        click.echo("  ".join(f"{n}={v}" for n, v in zip(row, shown, strict=True)))
