# SPDX-License-Identifier: Apache-2.0
"""``qpher-core sign`` and ``verify``: detached signatures of files of any size."""

import sys
from pathlib import Path
from typing import Final

import click

from qpher_core.algorithms import DEFAULT_SIGNATURE
from qpher_core.cli._files import STANDARD, read_bytes, source_of, write_bytes
from qpher_core.cli._frame import NO, Command
from qpher_core.cli._output import bytes_bar, show
from qpher_core.cli._target import AS_JSON, Target, on_tenant, on_tenant_if_any
from qpher_core.cli.encrypt import CONTEXT, FORCE, context_of, progress_of
from qpher_core.errors import ValidationError
from qpher_core.public_keys import parse_pem
from qpher_core.signed_files import FileSignature, verify_file

__all__ = ["sign", "verify"]

_SUFFIX: Final = ".sig"


@click.command(cls=Command, example="qpher-core sign release.tar.gz --algorithm ML-DSA-87")
@click.argument("source")
@click.option("--output", "-o", help=f"File to write, or -; SOURCE{_SUFFIX} if left out.")
@click.option(
    "--algorithm", default=DEFAULT_SIGNATURE, show_default=True, help="Algorithm of the key."
)
@click.option("--key-version", type=click.IntRange(1), help="The active one if left out.")
@click.option("--name", default="default", show_default=True, help="Name of the key.")
@CONTEXT
@FORCE
@on_tenant
def sign(
    target: Target,
    source: str,
    output: str | None,
    algorithm: str,
    key_version: int | None,
    name: str,
    pairs: tuple[str, ...],
    *,
    force: bool,
) -> None:
    """Sign SOURCE, a file or - for standard input, in constant memory."""
    chosen = output or (STANDARD if source == STANDARD else source + _SUFFIX)
    if chosen != STANDARD and Path(chosen).exists() and not force:
        raise ValidationError(f"{chosen} exists: --force replaces it", parameter="output")
    with target.session() as session, bytes_bar("sign", _size(source)) as bar:
        signature = session.signatures.sign_file(
            source_of(source), key_version, algorithm, name=name, context=context_of(pairs),
            progress=progress_of(bar),
        )  # fmt: skip
    write_bytes(chosen, signature.to_text().encode())


@click.command(cls=Command, example="qpher-core verify release.tar.gz --public-key key.pem")
@click.argument("source")
@click.option("--signature", help=f"File of the signature; SOURCE{_SUFFIX} if left out.")
@click.option("--public-key", metavar="FILE", help="PEM of the key: needs no store at all.")
@click.option("--accept-compromised", is_flag=True, help="Also by a key marked as compromised.")
@CONTEXT
@AS_JSON
@on_tenant_if_any
def verify(
    target: Target | None,
    source: str,
    signature: str | None,
    public_key: str | None,
    pairs: tuple[str, ...],
    *,
    accept_compromised: bool,
    as_json: bool,
) -> None:
    """Verify SOURCE, a file or - for standard input; with a store, or a public key alone.

    Exit status: 0, the signature is valid; 1, it is not.
    """
    given = FileSignature.from_text(_signature_text(source, signature))
    context = context_of(pairs)
    with bytes_bar("verify", _size(source), shown=not as_json) as bar:
        if public_key is not None:
            algorithm, key = parse_pem(read_bytes(public_key).decode())
            valid = algorithm == given.algorithm and verify_file(
                source_of(source), given, key, context=context, progress=progress_of(bar)
            )
        elif target is not None:
            with target.session() as session:
                valid = session.signatures.verify_file(
                    source_of(source), given, context=context, progress=progress_of(bar),
                    accept_compromised=accept_compromised,
                ).valid  # fmt: skip
        else:
            raise ValidationError("--store or --public-key must say whose the signature is")
    show(_row(given, valid=valid), as_json=as_json)
    sys.exit(0 if valid else NO)


def _signature_text(source: str, signature: str | None) -> str:
    if signature is None and source == STANDARD:
        raise ValidationError("--signature must be given with standard input")
    try:
        return read_bytes(signature or source + _SUFFIX).decode()
    except UnicodeDecodeError:
        raise ValidationError("the signature is not one of a file", parameter="signature") from None


def _row(given: FileSignature, *, valid: bool) -> dict[str, object]:
    return {
        "valid": valid,
        "algorithm": given.algorithm,
        "key_name": given.key_name,
        "key_version": given.key_version,
        "public_key_sha256": given.fingerprint.hex(),
        "audit_entry": given.receipt.seq,
    }


def _size(source: str) -> int | None:
    return None if source == STANDARD else Path(source).stat().st_size
