# SPDX-License-Identifier: Apache-2.0
"""``qpher-core keys``: key versions and their life."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click

from qpher_core.cli._files import json_line, read_bytes, write_bytes
from qpher_core.cli._frame import NO, Group
from qpher_core.cli._output import show, show_rows
from qpher_core.cli._target import AS_JSON, Target, on_tenant
from qpher_core.errors import PermissionDenied, ValidationError
from qpher_core.importing import wrap_private_key
from qpher_core.key_evidence import KeyStillNeeded
from qpher_core.lifecycle import KeyState
from qpher_core.models import ImportParameters, KeyVersion, optional_rfc3339, rfc3339
from qpher_core.session_keys import Keys

__all__ = ["keys", "rotate"]

ALGORITHM: Final = click.argument("algorithm")
VERSION: Final = click.argument("version", type=click.IntRange(1))
NAME: Final = click.option("--name", default="default", show_default=True, help="Name of the key.")
_OPTIONAL_VERSION: Final = click.argument("version", type=click.IntRange(1), required=False)
_REASON: Final = click.option("--reason", default="", help="Why, for the audit log.")
_ANYWAY: Final = click.option(
    "--force", is_flag=True, help="Even if something is known to depend on it."
)

_FORMATS: Final[Mapping[str, Callable[[KeyVersion], bytes]]] = {
    "pem": lambda key: key.to_pem().encode(),
    "der": lambda key: key.to_spki(),
    "jwk": lambda key: json_line(key.to_jwk()),
    "raw": lambda key: key.public_key,
}


@click.group(cls=Group, example="qpher-core keys generate ML-KEM-768")
def keys() -> None:
    """Key versions: generate, list, rotate, retire, archive, destroy, export and import."""


@keys.command("list", example="qpher-core keys list --state active")
@click.option("--algorithm", help="Only this algorithm.")
@click.option("--name", help="Only this name.")
@click.option(
    "--state", type=click.Choice([str(state) for state in KeyState]), help="Only this state."
)
@AS_JSON
@on_tenant
def list_keys(
    target: Target, algorithm: str | None, name: str | None, state: str | None, *, as_json: bool
) -> None:
    """List the key versions of the tenant."""
    with target.session() as session:
        found = session.keys.list(algorithm, name=name, state=state)
    show_rows([_row(key) for key in found], as_json=as_json, nothing="no keys")


@keys.command("show", example="qpher-core keys show ML-KEM-768 1")
@ALGORITHM
@_OPTIONAL_VERSION
@NAME
@AS_JSON
@on_tenant
def show_key(
    target: Target, algorithm: str, version: int | None, name: str, *, as_json: bool
) -> None:
    """Show a key VERSION; the active one if it is left out."""
    with target.session() as session:
        key = _find(session.keys, algorithm, version, name)
    more = {
        "changed_at": rfc3339(key.changed_at),
        "reason": key.reason or None,
        "public_key_bytes": len(key.public_key),
    }
    show({**_row(key), **more}, as_json=as_json)


@keys.command(example="qpher-core keys generate ML-KEM-768 --name billing")
@ALGORITHM
@NAME
@AS_JSON
@on_tenant
def generate(target: Target, algorithm: str, name: str, *, as_json: bool) -> None:
    """Generate a key version and make it active; one that was active is retired."""
    with target.session() as session:
        show(_row(session.keys.generate(algorithm, name=name)), as_json=as_json)


@keys.command(example="qpher-core rotate ML-KEM-768")
@ALGORITHM
@NAME
@AS_JSON
@on_tenant
def rotate(target: Target, algorithm: str, name: str, *, as_json: bool) -> None:
    """Replace the active key version by a new one; the old one is retired."""
    with target.session() as session:
        done = session.keys.rotate(algorithm, name=name)
    show({**_row(done.key), "replaces_version": done.old_key_version}, as_json=as_json)


@keys.command(example="qpher-core keys public ML-KEM-768 1 --output key.pem")
@ALGORITHM
@_OPTIONAL_VERSION
@NAME
@click.option(
    "--format",
    "kind",
    type=click.Choice([*_FORMATS]),
    default="pem",
    show_default=True,
    help="How it is written; jwk for ML-DSA alone.",
)
@click.option("--output", "-o", default="-", help="File to write; standard output if left out.")
@on_tenant
def public(
    target: Target, algorithm: str, version: int | None, name: str, kind: str, output: str
) -> None:
    """Write the public key of a VERSION; of the active one if it is left out."""
    with target.session() as session:
        key = _find(session.keys, algorithm, version, name)
    write_bytes(output, _FORMATS[kind](key))


@keys.command("import-parameters", example="qpher-core keys import-parameters > parameters.json")
@on_tenant
def import_parameters(target: Target) -> None:
    """Print what a private key is wrapped with, for a machine without a connection."""
    with target.session() as session:
        click.echo(session.keys.import_parameters().to_json())


@keys.command(
    example="qpher-core keys wrap ML-KEM-768 seed.bin --parameters parameters.json -o key.wrapped"
)
@ALGORITHM
@click.argument("private_key")
@click.option("--parameters", required=True, help="File of `keys import-parameters`.")
@NAME
@click.option("--output", "-o", default="-", help="File to write; standard output if left out.")
def wrap(algorithm: str, private_key: str, parameters: str, name: str, output: str) -> None:
    """Wrap the PRIVATE_KEY in a file (or -) for `keys import`; needs no store."""
    chosen = ImportParameters.from_json(read_bytes(parameters).decode())
    data = read_bytes(private_key)
    write_bytes(output, wrap_private_key(chosen, data, algorithm=algorithm, name=name))


@keys.command("import", example="qpher-core keys import ML-KEM-768 key.wrapped")
@ALGORITHM
@click.argument("wrapped")
@NAME
@AS_JSON
@on_tenant
def import_key(target: Target, algorithm: str, wrapped: str, name: str, *, as_json: bool) -> None:
    """Store the private key that `keys wrap` wrote to WRAPPED (or -), and make it active."""
    data = read_bytes(wrapped)
    with target.session() as session:
        show(_row(session.keys.import_key(algorithm, data, name=name)), as_json=as_json)


@keys.command(example="qpher-core keys evidence ML-KEM-768 1")
@ALGORITHM
@VERSION
@NAME
@AS_JSON
@on_tenant
def evidence(target: Target, algorithm: str, version: int, name: str, *, as_json: bool) -> None:
    """Show what is known to depend on a VERSION: uses, migrations, and what would be lost.

    Exit status: 0, nothing speaks against destroying it; 1, something does.
    """
    with target.session() as session:
        found = session.keys.evidence(algorithm, version, name=name)
    against = found.against_destroying
    row = {
        "protected": found.use.protected,
        "processed": found.use.processed,
        "migrated": found.use.migrated,
        "remaining": found.remaining,
        "last_used": optional_rfc3339(found.use.last_used),
        "successor": found.successor,
        "against_destroying": list(against) if as_json else "; ".join(against) or None,
    }
    show(row, as_json=as_json)
    sys.exit(NO if against else 0)


@keys.command(example="qpher-core keys destroy ML-KEM-768 1 --yes --reason 'data deleted'")
@ALGORITHM
@VERSION
@NAME
@_REASON
@_ANYWAY
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
@on_tenant
def destroy(
    target: Target,
    algorithm: str,
    version: int,
    name: str,
    reason: str,
    *,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase the private key of a VERSION for good; what it protects is lost."""
    if not yes:
        _confirm(f"Destroy {algorithm} key {name!r} version {version}? This cannot be undone.")
    with target.session() as session, _needed_stops():
        if target.is_remote and not force:
            _ask(session.keys, "destroy", algorithm, version, name)
        key = session.keys.destroy(algorithm, version, name=name, reason=reason, force=force)
    show(_row(key), as_json=as_json)


@keys.command(example="qpher-core keys retire ML-KEM-768 1")
@ALGORITHM
@VERSION
@NAME
@_REASON
@_ANYWAY
@AS_JSON
@on_tenant
def retire(
    target: Target,
    algorithm: str,
    version: int,
    name: str,
    reason: str,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Stop protecting with a VERSION for good; processing goes on."""
    with target.session() as session, _needed_stops():
        if target.is_remote and not force:
            _ask(session.keys, "retire", algorithm, version, name)
        key = session.keys.retire(algorithm, version, name=name, reason=reason, force=force)
    show(_row(key), as_json=as_json)


def _transition(action: str, summary: str) -> None:
    """Add the command that moves a key version to another state."""

    @keys.command(action, help=summary, example=f"qpher-core keys {action} ML-KEM-768 1")
    @ALGORITHM
    @VERSION
    @NAME
    @_REASON
    @AS_JSON
    @on_tenant
    def move(
        target: Target, algorithm: str, version: int, name: str, reason: str, *, as_json: bool
    ) -> None:
        with target.session() as session:
            change: Callable[..., KeyVersion] = getattr(session.keys, action)
            show(_row(change(algorithm, version, name=name, reason=reason)), as_json=as_json)


for _action, _summary in {
    "suspend": "Stop protecting with an active VERSION for now; processing goes on.",
    "resume": "Make a suspended VERSION active again, if no other is.",
    "archive": "Stop every use of a retired or compromised VERSION; it can be restored.",
    "restore": "Make an archived VERSION what it was before, so that it can process.",
    "compromise": "Mark a VERSION as compromised: it processes only what insists on it.",
}.items():
    _transition(_action, _summary)


def _find(found: Keys, algorithm: str, version: int | None, name: str) -> KeyVersion:
    if version is None:
        return found.active(algorithm, name=name)
    return found.get(algorithm, version, name=name)


def _row(key: KeyVersion) -> dict[str, Any]:
    return {
        "name": key.name,
        "algorithm": key.algorithm,
        "version": key.version,
        "state": str(key.state),
        "created_at": rfc3339(key.created_at),
    }


def _ask(found: Keys, action: str, algorithm: str, version: int, name: str) -> None:
    """Ask a service, which warns nobody, for the evidence before a change.

    Raises:
        KeyStillNeeded: something is known to depend on the key version.
        PermissionDenied: what depends on it may not be read.
    """
    try:
        needed = found.evidence(algorithm, version, name=name).warning(action)
    except PermissionDenied as error:
        told = f"what depends on the key may not be read ({error}); --force does it all the same"
        raise PermissionDenied(told, rule=error.rule, code=error.code) from error
    if needed is not None:
        raise needed


@contextmanager
def _needed_stops() -> Iterator[None]:
    """Stop before a change that something is known to depend on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", KeyStillNeeded)
        try:
            yield
        except KeyStillNeeded as needed:
            click.echo(f"qpher-core: {needed}; --force does it all the same", err=True)
            sys.exit(NO)


def _confirm(question: str) -> None:
    """Ask at a terminal; elsewhere nobody can answer."""
    if not sys.stdin.isatty():
        raise ValidationError("--yes must be given where nobody can be asked", parameter="yes")
    if not click.confirm(question, err=True):
        sys.exit(NO)
