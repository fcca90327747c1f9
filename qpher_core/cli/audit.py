# SPDX-License-Identifier: Apache-2.0
"""``qpher-core audit``: verifying logs and proofs, on a machine that has only them and a key."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

import qpher_core
from qpher_core.audit.segments import prove_from_export, verify_exports
from qpher_core.audit.selected import is_selection
from qpher_core.audit.selection import EntryFilter
from qpher_core.audit.verifier import ExportReport
from qpher_core.audit.vkey import VerifierKey, parse_vkeys
from qpher_core.cli._files import read_text, write_bytes
from qpher_core.cli._frame import NO, Group
from qpher_core.cli._output import bytes_bar
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.errors import ValidationError
from qpher_core.signed_files import FileSignature

__all__ = ["audit"]

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT: Final = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Group, example="qpher-core audit export acme.jsonl.gz --tenant acme")
def audit() -> None:
    """Audit logs: verify exports and proofs, export logs."""


@audit.command(example="qpher-core audit verify acme.jsonl.gz --key anchor.vkey")
@click.argument("exports", metavar="EXPORT...", type=_FILE, nargs=-1, required=True)
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="File of vkeys.")
@click.option("--last-anchor", type=_FILE, help="An anchor kept from before.")
@click.option("--revoked", type=_FILE, help="File of vkeys that were revoked.")
@click.option(
    "--save-anchor",
    type=_OUT,
    help="Where the newest anchor goes, if all is sound; one that is there is the last anchor.",
)
@click.option("--processes", type=click.IntRange(1), help="One for each core by default.")
@AS_JSON
def verify(
    exports: tuple[Path, ...],
    keys: tuple[Path, ...],
    last_anchor: Path | None,
    revoked: Path | None,
    save_anchor: Path | None,
    processes: int | None,
    *,
    as_json: bool,
) -> None:
    """Verify an EXPORT with public keys alone; or all files of a log that is in several.

    Exit status: 0, everything is as it was signed; 1, something is wrong; others: it could not
    be checked.
    """
    if save_anchor is not None and any(map(is_selection, exports)):
        raise ValidationError("chosen entries give no anchor to keep", parameter="save_anchor")
    if last_anchor is None and save_anchor is not None and save_anchor.exists():
        last_anchor = save_anchor  # what an auditor kept is never replaced by an older state
    size = sum(export.stat().st_size for export in exports)
    with bytes_bar("verify", size, shown=not as_json) as bar:
        report = verify_exports(
            exports,
            _trusted(keys),
            last_anchor=read_text(last_anchor, "last_anchor") if last_anchor else None,
            revoked=_vkeys(revoked, "revoked") if revoked else (),
            processes=processes,
            progress=bar.update if bar else None,
        )
    if save_anchor is not None:
        _save(save_anchor, report)
    click.echo(json.dumps(report.as_dict()) if as_json else _text(report))
    sys.exit(0 if report.ok else NO)


def _save(target: Path, report: ExportReport) -> None:
    """Keep the newest anchor, if there is one and all is sound."""
    if report.newest is not None:
        write_bytes(target, report.newest.encode())
    elif report.ok:
        click.echo("no anchor was saved: an empty log has none", err=True)


@audit.command("verify-store", example="qpher-core audit verify-store --tenant acme")
@click.option("--tenant", help="Name or id; the service's own log where none is given.")
@click.option("--last-anchor", type=_FILE, help="An anchor kept from before.")
@AS_JSON
@on_store
def verify_store(
    target: Target, tenant: str | None, last_anchor: Path | None, *, as_json: bool
) -> None:
    """Verify a log where it is kept, with its anchors, while it is written to.

    Exit status as for verify. The store's own keys are believed: an export, verified elsewhere
    with a key that was kept, shows more.
    """
    with target.service() as kms:
        report = kms.audit.verify(tenant)
        problem = report.problem
        if report.ok and last_anchor is not None:
            problem = _kept(kms, tenant, last_anchor)
    result = {"ok": not problem, "entries": report.entries, "bad_seq": report.bad_seq}
    where = "" if report.bad_seq is None else f" at entry {report.bad_seq}"
    text = f"NOT SOUND{where}: {problem}" if problem else f"sound: {report.entries} entries"
    click.echo(json.dumps({**result, "problem": problem}) if as_json else text)
    sys.exit(NO if problem else 0)


def _kept(kms: qpher_core.Qpher, tenant: str | None, anchor: Path) -> str:
    """Return why a log does not continue an anchor, or an empty string."""
    try:
        owner = None if tenant is None else kms.tenants.get(tenant)
        kms.anchors.check(read_text(anchor, "last_anchor"), owner)
    except qpher_core.AuditIntegrityError as error:
        return str(error)
    return ""


@audit.command(
    "verify-proof",
    example="qpher-core audit verify-proof a.tlog-proof --entry a.entry --content report.pdf.sig"
    " \\\n    --key anchor.vkey",
)
@click.argument("proof", type=_FILE)
@click.option("--entry", type=_FILE, required=True, help="The entry, its canonical bytes.")
@click.option(
    "--content",
    type=_FILE,
    help="The signature, ciphertext or public key itself, or the file that `sign` wrote; left out "
    "only for an entry that records none, as of a refusal.",
)
@click.option("--entry-only", is_flag=True, help="Without content: that the log holds the entry.")
@click.option("--key", "keys", type=_FILE, multiple=True, required=True, help="File of vkeys.")
@AS_JSON
def verify_proof(
    proof: Path,
    entry: Path,
    content: Path | None,
    keys: tuple[Path, ...],
    *,
    entry_only: bool,
    as_json: bool,
) -> None:
    """Verify a PROOF that a log holds an entry about a content.

    Entries of refusals are about none; all others need --content, or --entry-only.
    """
    if content is not None and entry_only:
        raise ValidationError("--entry-only takes no --content", parameter="entry_only")
    trusted, text = _trusted(keys), read_text(proof, "proof")
    body = entry.read_bytes().removesuffix(b"\n")
    data = None if content is None else _content(content.read_bytes())
    try:
        if entry_only:
            verified = qpher_core.verify_inclusion(text, body, trusted)
        else:
            verified = qpher_core.verify_proof(text, body, data, trusted)
    except qpher_core.AuditIntegrityError as error:
        result = {"ok": False, "problem": str(error.problem), "detail": str(error)}
        click.echo(json.dumps(result) if as_json else f"NOT SOUND: {error}")
        sys.exit(NO)
    result = {"ok": True, "entry": verified.fields, "signers": verified.signers}
    about = ", whatever it is about" if entry_only else ""
    text = f"sound: entry {verified.fields['seq']}{about}"
    click.echo(json.dumps(result) if as_json else text)


@audit.command(example="qpher-core audit export acme.jsonl.gz --tenant acme")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--tenant", help="Name or id; the service's own log where none is given.")
@click.option("--since", type=click.DateTime(), help="Entries of this moment or later, UTC.")
@click.option("--until", type=click.DateTime(), help="Entries before this moment, UTC.")
@click.option("--by", "actor", help="Entries of this actor.")
@click.option("--action", help="Entries of this action, such as kem.encrypt.")
@click.option(
    "--outcome", type=click.Choice(["success", "denied", "failed"]), help="Entries that ended so."
)
@click.option("--key-name", "name", help="Entries about keys of this name.")
@click.option("--algorithm", help="Entries about keys of this algorithm.")
@click.option(
    "--key-version", "version", type=click.IntRange(1), help="Entries about keys of this version."
)
@on_store
def export(target: Target, file: Path, tenant: str | None, **where: Any) -> None:
    """Export a log to FILE; compressed, if it ends with .gz.

    With a filter, the entries that it chooses, each with its proof; all of them otherwise.
    """
    for moment in ("since", "until"):
        where[moment] = where[moment] and where[moment].replace(tzinfo=UTC)
    chosen = EntryFilter(**where) if any(where.values()) else None
    with target.administration() as kms:
        kms.audit.export(file, tenant, where=chosen)


@audit.command(example="qpher-core audit anchor --tenant acme > acme.checkpoint")
@click.option("--tenant", help="Name or id; the service's own log where none is given.")
@on_store
def anchor(target: Target, tenant: str | None) -> None:
    """Anchor a log now, and print the anchor: for --last-anchor."""
    with target.service() as kms:
        owner = None if tenant is None else kms.tenants.get(tenant)
        click.echo(kms.anchors.publish(owner).note, nl=False)


@audit.command("rotate-key", example="qpher-core audit rotate-key")
@on_store
def rotate_key(target: Target) -> None:
    """Replace the anchor key, and print the new one; the old one signs that it follows."""
    with target.service() as kms:
        click.echo(kms.anchors.rotate(actor=target.who))


@audit.command(
    "move-out", example="qpher-core audit move-out /backup/audit --tenant acme --until 2026-01-01"
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--tenant", help="Name or id; the service's own log where none is given.")
@click.option(
    "--until", type=click.DateTime(), help="What was anchored before, UTC; all by default."
)
@AS_JSON
@on_store
def move_out(
    target: Target, folder: Path, tenant: str | None, until: datetime | None, *, as_json: bool
) -> None:
    """Move the anchored beginning of a log out of the store, to a file in FOLDER.

    The log goes on from there. The store keeps no copy: back the file up.
    """
    moment = until and until.replace(tzinfo=UTC)
    with target.service() as kms:
        moved = kms.audit.move_out(folder, tenant, until=moment, actor=target.who)
    result = {
        "path": str(moved.path),
        "first": moved.first,
        "end": moved.end,
        "sha256": moved.sha256.hex(),
    }
    text = f"{moved.path}: entries {moved.first} to {moved.end - 1}"
    click.echo(json.dumps(result) if as_json else text)


@audit.command(
    example="qpher-core audit proof acme.jsonl.gz --seq 7 --out a.tlog-proof --entry a.entry"
)
@click.argument("export", type=_FILE)
@click.option("--seq", type=click.IntRange(0), required=True, help="Place of the entry.")
@click.option("--out", type=_OUT, required=True, help="Where the proof goes.")
@click.option("--entry", type=_OUT, required=True, help="Where the entry's bytes go.")
def proof(export: Path, seq: int, out: Path, entry: Path) -> None:
    """Prove an entry out of an EXPORT or a segment, for verify-proof. Needs no store."""
    made, body = prove_from_export(export, seq)
    write_bytes(entry, body)
    write_bytes(out, str(made).encode())


@audit.command(example="qpher-core audit keys > anchor.vkey")
@on_store
def keys(target: Target) -> None:
    """Print the anchor keys as vkeys: for --key."""
    if target.is_remote:
        with target.connection() as connection:
            found = connection.anchor_keys()
    else:
        with target.service() as kms:
            found = tuple(kms.anchors.keys())
    click.echo("\n".join(found))


def _content(data: bytes) -> bytes:
    """Return what an entry is about: of a detached signature, the signature alone."""
    try:
        return FileSignature.from_text(data.decode()).signature
    except (ValidationError, UnicodeDecodeError):
        return data


def _trusted(paths: Sequence[Path]) -> list[VerifierKey]:
    """Return the keys of some files; without one nothing can be checked."""
    found = [key for path in paths for key in _vkeys(path, "key")]
    if not found:
        raise ValidationError(f"no key in {', '.join(map(str, paths))}", parameter="key")
    return found


def _vkeys(path: Path, parameter: str) -> list[VerifierKey]:
    try:
        return parse_vkeys(read_text(path, parameter))
    except qpher_core.AuditIntegrityError as error:  # says nothing about a log
        raise ValidationError(f"{path}: {error}", parameter=parameter) from error


def _text(report: ExportReport) -> str:
    if report.ok:
        log = f"tenant {report.tenant}" + (f" of {report.service}" if report.service else "")
        if report.selected is not None:
            return f"sound: {report.selected} of {report.entries} entries, {log}"
        counts = f"{report.entries - report.first} entries, {report.anchors} anchors"
        rest = f", from entry {report.first} on" if report.first else ""
        return f"sound: {counts}, {log}{rest}"
    where = "" if report.bad_seq is None else f" at entry {report.bad_seq}"
    return f"NOT SOUND: {report.problem}{where}: {report.detail}"
