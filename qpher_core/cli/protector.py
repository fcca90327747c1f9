# SPDX-License-Identifier: Apache-2.0
"""``qpher-core protector``: which key encryption keys a store needs, and moving it to another."""

import base64
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

import qpher_core
from qpher_core.discovery import open_protector
from qpher_core.errors import QpherError

__all__ = ["protector"]

#: Exit status: done; records are left that could not be moved; it could not be done.
_LEFT, _FAILED = 1, 2

_PROTECTORS: Final = click.option(
    "--protector",
    "protectors",
    multiple=True,
    metavar="URL",
    help="Who holds the KEK; may be given several times. The store's own choice if left out.",
)


@click.group()
def protector() -> None:
    """Key encryption keys (KEKs): status, rewrap, new ones."""


@protector.command()
@click.argument("url")
@_PROTECTORS
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def status(url: str, protectors: tuple[str, ...], *, as_json: bool) -> None:
    """Count the records of the store at URL under each KEK."""
    with _failing(), _opened(url, protectors) as kms:
        found = kms.protector.status()
    if as_json:
        report = {
            "kek": found.kek_id,
            "records": dict(found.records),
            "pending": found.pending,
            "replaced": list(found.replaced),
        }
        click.echo(json.dumps(report))
        return
    click.echo(f"KEK in use: {found.kek_id}")
    for kek_id, count in sorted(found.records.items()):
        click.echo(f"{kek_id}: {count} records{'' if kek_id == found.kek_id else ', to be moved'}")
    for kek_id in found.replaced:
        click.echo(f"{kek_id}: no longer needed")


@protector.command()
@click.argument("url")
@_PROTECTORS
@click.option("--to", "target", metavar="URL", help="The protector to move to.")
@click.option("--renew", is_flag=True, help="Make a second KEK in the same place and move to it.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def rewrap(
    url: str, protectors: tuple[str, ...], target: str | None, *, renew: bool, as_json: bool
) -> None:
    """Seal every record of the store at URL under another KEK.

    After an interruption, give both protectors with --protector and neither --to nor --renew.
    Exit status: 0, all were moved; 1, some are damaged and stay; 2, it could not be done.
    """
    if target is not None and renew:
        raise click.UsageError("give --to or --renew, not both")
    with _failing(), _opened(url, protectors) as kms, _progress(shown=not as_json) as progress:
        if renew:
            kms.protector.use()
        report = kms.protector.rewrap(target, progress=progress)
    if as_json:
        done = {
            "kek": report.kek_id,
            "moved": report.moved,
            "damaged": [str(ref) for ref in report.damaged],
            "replaced": list(report.replaced),
        }
        click.echo(json.dumps(done))
    else:
        click.echo(f"{report.moved} records moved; KEK in use: {report.kek_id}")
        for kek_id in report.replaced:
            click.echo(f"{kek_id}: no longer needed")
        for ref in report.damaged:
            click.echo(f"damaged, left as it is: {ref} of tenant {ref.tenant_id}", err=True)
    sys.exit(_LEFT if report.damaged else 0)


@protector.command()
@click.argument("url")
def create(url: str) -> None:
    """Make a KEK at the protector URL, if it has none, and print its id."""
    with _failing():
        made = open_protector(url, create=True)
        click.echo(made.kek_id)
        made.close()


@protector.command("new-kek")
def new_kek() -> None:
    """Print a new KEK for an environment variable (env://VARIABLE). Keep it secret."""
    click.echo(base64.b64encode(secrets.token_bytes(32)).decode())


def _opened(url: str, protectors: tuple[str, ...]) -> qpher_core.Qpher:
    return qpher_core.open(url, protector=list(protectors) or None)


@contextmanager
def _failing() -> Iterator[None]:
    """Turn a refusal into one line and exit status 2."""
    try:
        yield
    except QpherError as error:
        click.echo(f"cannot do it: {error}", err=True)
        sys.exit(_FAILED)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on a terminal."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rewrap", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
