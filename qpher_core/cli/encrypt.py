# SPDX-License-Identifier: Apache-2.0
"""``qpher-core encrypt`` and ``decrypt``: files of any size, and pipes."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from qpher_core.cli._files import STANDARD, new_target, source_of
from qpher_core.cli._frame import Command
from qpher_core.cli._output import bytes_bar
from qpher_core.cli._target import Target, on_tenant
from qpher_core.errors import DecryptionFailed, ValidationError
from qpher_core.files import open_source, read_recipients
from qpher_core.messages import address_of

__all__ = ["CONTEXT", "FORCE", "context_of", "decrypt", "encrypt"]

_SUFFIX: Final = ".qph"

_SOURCE: Final = click.argument("source")
_NAME: Final = click.option("--name", default="default", show_default=True, help="Name of the key.")

CONTEXT: Final = click.option(
    "--context",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Text that is bound in, and must be given again; repeatable.",
)

FORCE: Final = click.option("--force", is_flag=True, help="Replace a file that exists.")


@click.command(cls=Command, example="pg_dump shop | qpher-core encrypt - --output shop.sql.qph")
@_SOURCE
@click.option("--output", "-o", help=f"File to write, or -; SOURCE{_SUFFIX} if left out.")
@click.option("--algorithm", default="ML-KEM-768", show_default=True)
@click.option("--key-version", type=click.IntRange(1), help="The active one if left out.")
@_NAME
@CONTEXT
@FORCE
@on_tenant
def encrypt(
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
    """Encrypt SOURCE, a file or - for standard input, in constant memory."""
    context = context_of(pairs)
    chosen = output or (STANDARD if source == STANDARD else source + _SUFFIX)
    writing = new_target(chosen, force=force)
    size = None if source == STANDARD else Path(source).stat().st_size
    with target.session() as session, bytes_bar("encrypt", size) as bar:
        progress: dict[str, Any] = {"progress": bar.advance} if bar else {}
        done = session.kem.encrypt_file(
            source_of(source), writing, key_version, algorithm, name=name, context=context,
            **progress,
        )  # fmt: skip
    _tell(
        chosen,
        f"{done.plaintext_bytes:,} bytes for {done.algorithm} version {done.key_version}",
    )


@click.command(cls=Command, example="qpher-core decrypt shop.sql.qph --output - | psql shop")
@_SOURCE
@click.option("--output", "-o", help=f"File to write, or -; SOURCE without {_SUFFIX} if left out.")
@_NAME
@CONTEXT
@click.option("--accept-compromised", is_flag=True, help="Also with a key marked as compromised.")
@FORCE
@on_tenant
def decrypt(
    target: Target,
    source: str,
    output: str | None,
    name: str,
    pairs: tuple[str, ...],
    *,
    accept_compromised: bool,
    force: bool,
) -> None:
    """Decrypt SOURCE, a file or - for standard input, in constant memory.

    A file appears under its name only when all of it is authentic. Standard output gets
    authentic parts as they come: whoever reads them must heed the exit status.
    """
    context = context_of(pairs)
    chosen = output or _without_suffix(source)
    writing = new_target(chosen, force=force)
    size = None if source == STANDARD else Path(source).stat().st_size
    with (
        target.session() as session,
        open_source(source_of(source)) as reading,
        bytes_bar("decrypt", size) as bar,
    ):
        whole, algorithm, version = _addressed(reading)
        progress: dict[str, Any] = {"progress": bar.advance} if bar else {}
        done = session.kem.decrypt_file(
            whole, writing, version, algorithm, name=name, context=context,
            accept_compromised=accept_compromised, **progress,
        )  # fmt: skip
    _tell(chosen, f"{done.plaintext_bytes:,} bytes")


def context_of(pairs: tuple[str, ...]) -> Mapping[str, str] | None:
    """Return the context that options give; None where there are none."""
    split = [pair.partition("=") for pair in pairs]
    if not all(equals for _, equals, _ in split):
        raise ValidationError("--context must be NAME=VALUE", parameter="context")
    return {name: value for name, _, value in split} or None


def _without_suffix(source: str) -> str:
    if source == STANDARD:
        return STANDARD
    if not source.endswith(_SUFFIX):
        raise ValidationError(f"--output must be given: {source} does not end in {_SUFFIX}")
    return source.removesuffix(_SUFFIX)


def _tell(output: str, what: str) -> None:
    """Say on a terminal what was done; scripts have the exit status."""
    if sys.stderr.isatty():
        click.echo(f"{'standard output' if output == STANDARD else output}: {what}", err=True)


class _Twice(io.RawIOBase):
    """Reads the start of a source, and after :meth:`again` all of it, also from a pipe."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._start = io.BytesIO()
        self._keeping = True

    def readable(self) -> bool:
        """Return True."""
        return True

    def again(self) -> None:
        """Begin anew; from here on nothing is kept."""
        self._start.seek(0)
        self._keeping = False

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes; none at the end."""
        if not self._keeping:
            return self._start.read(size) or self._source.read(size)
        data = self._source.read(size)
        self._start.write(data)
        return data


def _addressed(source: BinaryIO) -> tuple[Any, str, int]:
    """Return the source, from its start, and the algorithm and version that its header names."""
    twice: Any = _Twice(source)
    recipients = read_recipients(twice)
    address = address_of(recipients[0]) if recipients else None
    if address is None:
        raise DecryptionFailed
    twice.again()
    return twice, *address
