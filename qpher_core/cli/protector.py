# SPDX-License-Identifier: Apache-2.0
"""``qpher-core protector``: which key encryption keys a store needs, and moving it to another."""

import base64
import json
import secrets
import sys

import click

from qpher_core.cli._frame import NO, Group
from qpher_core.cli._output import items_bar
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.discovery import open_protector
from qpher_core.models import RewrapReport

__all__ = ["protector"]


@click.group(cls=Group, example="qpher-core protector rewrap --to file:///etc/qpher/new.kek")
def protector() -> None:
    """Key encryption keys (KEKs): show, rewrap, new ones."""


@protector.command(example="qpher-core protector show")
@AS_JSON
@on_store
def show(target: Target, *, as_json: bool) -> None:
    """Count the records under each KEK."""
    with target.administration() as kms:
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


@protector.command(example="qpher-core protector rewrap --to file:///etc/qpher/new.kek")
@click.option("--to", "successor", metavar="URL", help="The protector to move to.")
@click.option("--renew", is_flag=True, help="Make a second KEK in the same place and move to it.")
@AS_JSON
@on_store
def rewrap(target: Target, successor: str | None, *, renew: bool, as_json: bool) -> None:
    """Seal every record under another KEK; at a service, under the one that it uses.

    After an interruption, give both protectors with --protector and neither --to nor --renew.
    Exit status: 0, all were moved; 1, some are damaged and stay; others: it could not be done.
    """
    if successor is not None and renew:
        raise click.UsageError("give --to or --renew, not both")
    report = _rewrap(target, successor, renew=renew, quiet=as_json)
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
    sys.exit(NO if report.damaged else 0)


def _rewrap(target: Target, successor: str | None, *, renew: bool, quiet: bool) -> RewrapReport:
    if target.is_remote and successor is None and not renew:
        with target.administration() as there:
            return there.protector.rewrap()
    # Another KEK comes from files and settings of the service, which are where it runs.
    with target.service() as kms, items_bar("rewrap", shown=not quiet) as progress:
        if renew:
            kms.protector.use()
        return kms.protector.rewrap(successor, progress=progress)


@protector.command(example="qpher-core protector create file:///etc/qpher/kek")
@click.argument("url")
def create(url: str) -> None:
    """Make a KEK at the protector URL, if it has none, and print its id."""
    made = open_protector(url, create=True)
    click.echo(made.kek_id)
    made.close()


@protector.command("new-kek", example="export QPHER_KEK=$(qpher-core protector new-kek)")
def new_kek() -> None:
    """Print a new KEK for an environment variable (env://VARIABLE). Keep it secret."""
    click.echo(base64.b64encode(secrets.token_bytes(32)).decode())
