# SPDX-License-Identifier: Apache-2.0
"""``qpher-core migrate`` and ``rewrap``: moving what is encrypted to another key."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from qpher_core.algorithms import DEFAULT_KEM
from qpher_core.cli._frame import NO, Command
from qpher_core.cli._output import items_bar, show, show_rows
from qpher_core.cli._target import AS_JSON, Target, on_tenant
from qpher_core.cli.encrypt import CONTEXT, context_of
from qpher_core.errors import ValidationError
from qpher_core.migration.report import MigrationProgress, MigrationReport
from qpher_core.migration.sql import SqlColumn

__all__ = ["migrate", "rewrap"]

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")

_ALGORITHM: Final = click.option(
    "--algorithm", default=DEFAULT_KEM, show_default=True, help="The algorithm to move to."
)
_VERSION: Final = click.option(
    "--key-version", type=click.IntRange(1), help="The version to move to; the active one."
)
_NAME: Final = click.option(
    "--name", default="default", show_default=True, help="Name of the key, before and after."
)
_COMPROMISED: Final = click.option(
    "--accept-compromised", is_flag=True, help="Move what compromised keys protect, too."
)


@click.command(
    cls=Command,
    example="qpher-core migrate sqlite:///shop.db --column patients.id.diagnosis --algorithm "
    "ML-KEM-1024",
)
@click.argument("source")
@click.option(
    "--column",
    metavar="TABLE.ID.VALUE",
    help="Of a database: its table, its unique column, and the column of encrypted values.",
)
@_ALGORITHM
@_VERSION
@_NAME
@CONTEXT
@click.option("--journal", metavar="FILE", help="Keeps how far it is, to go on after a kill.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Items a second at most.")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Batches that are moved at once.",
)
@click.option(
    "--salt-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of the salt of a deterministic field whose values are moved.",
)
@_COMPROMISED
@AS_JSON
@on_tenant
def migrate(
    target: Target,
    source: str,
    column: str | None,
    algorithm: str,
    key_version: int | None,
    name: str,
    pairs: tuple[str, ...],
    salt_file: Path | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Move SOURCE to another key version or algorithm.

    SOURCE is an encrypted file, a directory of them, or a database (sqlite:///… or postgresql://…)
    with --column. What is there already stays as it is, so that a second run moves the rest.

    Exit status: 0, everything is under the new key; 1, something is not.
    """
    context = context_of(pairs)
    with (
        _opened(source, column) as opened,
        target.session() as session,
        items_bar("migrate", shown=not as_json) as bar,
    ):
        report = session.migrate(
            opened, to_algorithm=algorithm, to_version=key_version, name=name, context=context,
            salt=salt_file.read_bytes() if salt_file else None,
            progress=_progress(bar), **options,
        )  # fmt: skip
    show(_row(report), as_json=as_json)
    for failure in report.failed:
        click.echo(f"{failure.item}: {failure.problem}", err=True)
    sys.exit(0 if report.complete or report.dry_run else NO)


@click.command(cls=Command, example="qpher-core rewrap backup.tar.qph --algorithm ML-KEM-1024")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@_ALGORITHM
@_VERSION
@_NAME
@CONTEXT
@_COMPROMISED
@AS_JSON
@on_tenant
def rewrap(
    target: Target,
    files: tuple[Path, ...],
    algorithm: str,
    key_version: int | None,
    name: str,
    pairs: tuple[str, ...],
    *,
    accept_compromised: bool,
    as_json: bool,
) -> None:
    """Move encrypted FILES to another key by rewriting their headers; their data stays.

    Exit status: 0, all are under the new key; 1, some are not.
    """
    context, rows, complete = context_of(pairs), [], True
    with target.session() as session, items_bar("rewrap", shown=not as_json) as bar:
        for number, path in enumerate(files, 1):
            report = session.migrate(
                path, to_algorithm=algorithm, to_version=key_version, name=name, context=context,
                accept_compromised=accept_compromised,
            )  # fmt: skip
            rows.append({"file": str(path), **_outcome(report)})
            complete = complete and report.complete and not report.ignored
            if bar:
                bar(number, len(files))
    show_rows(rows, as_json=as_json, nothing="no files")
    sys.exit(0 if complete else NO)


@contextmanager
def _opened(source: str, column: str | None) -> Iterator[Any]:
    """Open what is migrated: a path as it is, a database as one of its columns."""
    if not source.startswith((_SQLITE, *_POSTGRES)):
        if column is not None:
            raise ValidationError("--column goes with a database", parameter="column")
        yield Path(source)
        return
    parts = (column or "").split(".")
    if len(parts) != 3:
        raise ValidationError("--column must be TABLE.ID.VALUE", parameter="column")
    connection = _connect(source)
    error_of = sys.modules[type(connection).__module__.partition(".")[0]].Error
    try:
        yield SqlColumn(connection, *parts)
    except error_of as error:
        # Further lines may show the row.
        told = str(error).partition("\n")[0]
        raise ValidationError(f"the database refuses: {told}", parameter="source") from None
    finally:
        connection.close()


def _connect(source: str) -> Any:
    if source.startswith(_SQLITE):
        path = Path(source.removeprefix(_SQLITE))
        if not path.is_file():
            raise ValidationError(f"there is no database at {path}", parameter="source")
        return sqlite3.connect(path)
    try:
        import psycopg  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise ValidationError(
            "postgresql:// needs a package that is missing: pip install 'qpher-core[postgres]'"
        ) from error
    try:
        return psycopg.connect(source)
    except psycopg.Error as error:
        raise ValidationError(f"cannot connect: {type(error).__name__}") from None


def _progress(
    bar: Callable[[int, int], None] | None,
) -> Callable[[MigrationProgress], object]:
    if bar is None:
        return lambda _: None
    return lambda now: bar(now.done, now.total or now.done)


def _row(report: MigrationReport) -> dict[str, object]:
    return {
        "moved": report.moved,
        "already": report.already,
        "changed_meanwhile": report.changed,
        "ignored": report.ignored,
        "failed": len(report.failed),
        "algorithm": report.algorithm,
        "key_version": report.key_version,
        "dry_run": report.dry_run,
        "resumed": report.resumed,
    }


def _outcome(report: MigrationReport) -> dict[str, object]:
    """Return what became of the one file of a report."""
    if report.failed:
        outcome = report.failed[0].problem
    elif report.moved:
        outcome = "moved"
    elif report.already:
        outcome = "already there"
    else:
        outcome = "changed meanwhile" if report.changed else "not an encrypted file"
    return {
        "outcome": outcome, "algorithm": report.algorithm, "key_version": report.key_version
    }  # fmt: skip
