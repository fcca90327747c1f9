# SPDX-License-Identifier: Apache-2.0
"""``qpher-core audit``: verifying logs and proofs, on a machine that has only them and a key."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

import qpher_core
from qpher_core.audit.verifier import ExportReport, verify_export
from qpher_core.audit.vkey import VerifierKey, parse_vkeys
from qpher_core.errors import QpherError

__all__ = ["audit"]

#: Exit status: everything holds; something is wrong; it could not be checked.
_SOUND, _WRONG, _UNCHECKED = 0, 1, 2

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Audit logs: verify exports and proofs, export logs."""


@audit.command()
@click.argument("export", type=_FILE)
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="File of vkeys.")
@click.option("--last-anchor", type=_FILE, help="An anchor kept from before.")
@click.option("--revoked", type=_FILE, help="File of vkeys that were revoked.")
@click.option("--processes", type=click.IntRange(1), help="One for each core by default.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def verify(
    export: Path,
    keys: tuple[Path, ...],
    last_anchor: Path | None,
    revoked: Path | None,
    processes: int | None,
    *,
    as_json: bool,
) -> None:
    """Verify an EXPORT with public keys alone.

    Exit status: 0, everything is as it was signed; 1, something is wrong; 2, it could not be
    checked.
    """
    with _failing(), _progress(shown=not as_json) as progress:
        report = verify_export(
            export,
            [key for path in keys for key in _vkeys(path)],
            last_anchor=last_anchor.read_text(encoding="utf-8") if last_anchor else None,
            revoked=_vkeys(revoked) if revoked else (),
            processes=processes,
            progress=progress,
        )
    click.echo(json.dumps(report.as_dict()) if as_json else _text(report))
    sys.exit(_SOUND if report.ok else _WRONG)


@audit.command("verify-proof")
@click.argument("proof", type=_FILE)
@click.option("--entry", type=_FILE, required=True, help="The entry, its canonical bytes.")
@click.option("--content", type=_FILE, help="The signature, ciphertext or public key itself.")
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="File of vkeys.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def verify_proof(
    proof: Path, entry: Path, content: Path | None, keys: tuple[Path, ...], *, as_json: bool
) -> None:
    """Verify a PROOF that a log holds an entry about a content."""
    with _failing():
        trusted = [key for path in keys for key in _vkeys(path)]
        text = proof.read_text(encoding="utf-8")
        body = entry.read_bytes().removesuffix(b"\n")
        data = content and content.read_bytes()
        try:
            verified = qpher_core.verify_proof(text, body, data or None, trusted)
        except qpher_core.AuditIntegrityError as error:
            result = {"ok": False, "problem": str(error.problem), "detail": str(error)}
            click.echo(json.dumps(result) if as_json else f"NOT SOUND: {error}")
            sys.exit(_WRONG)
    result = {"ok": True, "entry": verified.fields, "signers": verified.signers}
    click.echo(json.dumps(result) if as_json else f"sound: entry {verified.fields['seq']}")


@audit.command()
@click.argument("url")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--tenant", help="Name or id; the service's own log where none is given.")
def export(url: str, target: Path, tenant: str | None) -> None:
    """Export a log of the store at URL to TARGET; compressed, if it ends with .gz."""
    with _failing(), qpher_core.open(url) as kms:
        kms.audit.export(target, tenant)


@audit.command()
@click.argument("url")
def keys(url: str) -> None:
    """Print the anchor keys of the store at URL as vkeys: for --key."""
    with _failing(), qpher_core.open(url) as kms:
        click.echo("\n".join(kms.anchors.keys()))


def _vkeys(path: Path) -> list[VerifierKey]:
    return parse_vkeys(path.read_text(encoding="utf-8"))


def _text(report: ExportReport) -> str:
    if report.ok:
        return f"sound: {report.entries} entries, {report.anchors} anchors, tenant {report.tenant}"
    where = "" if report.bad_seq is None else f" at entry {report.bad_seq}"
    return f"NOT SOUND: {report.problem}{where}: {report.detail}"


@contextmanager
def _failing() -> Iterator[None]:
    """Turn what makes a check impossible into one line and exit status 2."""
    try:
        yield
    except (OSError, UnicodeDecodeError, QpherError) as error:
        click.echo(f"cannot check: {error}", err=True)
        sys.exit(_UNCHECKED)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on a terminal."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
