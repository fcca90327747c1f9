# SPDX-License-Identifier: Apache-2.0
"""``qpher-core audit``: verifying logs and proofs, on a machine that has only them and a key."""

import json
import sys
from pathlib import Path
from typing import Final

import click

import qpher_core
from qpher_core.audit.verifier import ExportReport, verify_export
from qpher_core.audit.vkey import VerifierKey, parse_vkeys
from qpher_core.cli._frame import NO, Group
from qpher_core.cli._output import bytes_bar
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.errors import ValidationError

__all__ = ["audit"]

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Group)
def audit() -> None:
    """Audit logs: verify exports and proofs, export logs."""


@audit.command(example="qpher-core audit verify acme.jsonl.gz --key anchor.vkey")
@click.argument("export", type=_FILE)
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="File of vkeys.")
@click.option("--last-anchor", type=_FILE, help="An anchor kept from before.")
@click.option("--revoked", type=_FILE, help="File of vkeys that were revoked.")
@click.option("--processes", type=click.IntRange(1), help="One for each core by default.")
@AS_JSON
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

    Exit status: 0, everything is as it was signed; 1, something is wrong; others: it could not
    be checked.
    """
    with bytes_bar("verify", export.stat().st_size, shown=not as_json) as bar:
        report = verify_export(
            export,
            [key for path in keys for key in _vkeys(path)],
            last_anchor=last_anchor.read_text(encoding="utf-8") if last_anchor else None,
            revoked=_vkeys(revoked) if revoked else (),
            processes=processes,
            progress=bar.update if bar else None,
        )
    click.echo(json.dumps(report.as_dict()) if as_json else _text(report))
    sys.exit(0 if report.ok else NO)


@audit.command(
    "verify-proof",
    example="qpher-core audit verify-proof a.tlog-proof --entry a.entry --key anchor.vkey",
)
@click.argument("proof", type=_FILE)
@click.option("--entry", type=_FILE, required=True, help="The entry, its canonical bytes.")
@click.option("--content", type=_FILE, help="The signature, ciphertext or public key itself.")
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="File of vkeys.")
@AS_JSON
def verify_proof(
    proof: Path, entry: Path, content: Path | None, keys: tuple[Path, ...], *, as_json: bool
) -> None:
    """Verify a PROOF that a log holds an entry about a content."""
    trusted = [key for path in keys for key in _vkeys(path)]
    text = proof.read_text(encoding="utf-8")
    body = entry.read_bytes().removesuffix(b"\n")
    data = content and content.read_bytes()
    try:
        verified = qpher_core.verify_proof(text, body, data or None, trusted)
    except qpher_core.AuditIntegrityError as error:
        result = {"ok": False, "problem": str(error.problem), "detail": str(error)}
        click.echo(json.dumps(result) if as_json else f"NOT SOUND: {error}")
        sys.exit(NO)
    result = {"ok": True, "entry": verified.fields, "signers": verified.signers}
    click.echo(json.dumps(result) if as_json else f"sound: entry {verified.fields['seq']}")


@audit.command(example="qpher-core audit export acme.jsonl.gz --tenant acme")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--tenant", help="Name or id; the service's own log where none is given.")
@on_store
def export(target: Target, file: Path, tenant: str | None) -> None:
    """Export a log to FILE; compressed, if it ends with .gz."""
    with target.service() as kms:
        kms.audit.export(file, tenant)


@audit.command(example="qpher-core audit keys > anchor.vkey")
@on_store
def keys(target: Target) -> None:
    """Print the anchor keys as vkeys: for --key."""
    with target.service() as kms:
        click.echo("\n".join(kms.anchors.keys()))


def _vkeys(path: Path) -> list[VerifierKey]:
    try:
        return parse_vkeys(path.read_text(encoding="utf-8"))
    except qpher_core.AuditIntegrityError as error:  # says nothing about a log
        raise ValidationError(f"{path}: {error}", parameter="key") from error


def _text(report: ExportReport) -> str:
    if report.ok:
        return f"sound: {report.entries} entries, {report.anchors} anchors, tenant {report.tenant}"
    where = "" if report.bad_seq is None else f" at entry {report.bad_seq}"
    return f"NOT SOUND: {report.problem}{where}: {report.detail}"
