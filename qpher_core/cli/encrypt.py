# SPDX-License-Identifier: Apache-2.0
"""``qpher-core encrypt`` and ``decrypt``: files of any size, and pipes."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from qpher_core.algorithms import DEFAULT_KEM
from qpher_core.chunked import Progress
from qpher_core.cli._files import STANDARD, new_target, source_of
from qpher_core.cli._frame import Command
from qpher_core.cli._output import BytesBar, bytes_bar
from qpher_core.cli._recipients import RECIPIENTS, own_key, recipients_of
from qpher_core.cli._target import Target, on_tenant, on_tenant_if_any
from qpher_core.errors import ValidationError
from qpher_core.file_header import FileHeader, unchanging
from qpher_core.file_io import open_source, ready
from qpher_core.models import KeyVersion
from qpher_core.public_files import encrypt_file
from qpher_core.recipients import PublicKeyRecipient
from qpher_core.session import Session

__all__ = ["CONTEXT", "FORCE", "context_of", "decrypt", "encrypt", "progress_of"]

_SUFFIX: Final = ".qph"

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
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--output", "-o", help=f"File to write, or -; SOURCE{_SUFFIX} if left out.")
@click.option("--algorithm", default=DEFAULT_KEM, show_default=True, help="Algorithm of the key.")
@click.option("--key-version", type=click.IntRange(1), help="The active one if left out.")
@_NAME
@RECIPIENTS
@click.option(
    "--metadata",
    "described",
    multiple=True,
    metavar="NAME=VALUE",
    help="Text that is stored with it, encrypted; repeatable.",
)
@CONTEXT
@FORCE
@on_tenant_if_any
def encrypt(
    target: Target | None,
    sources: tuple[str, ...],
    output: str | None,
    algorithm: str,
    key_version: int | None,
    name: str,
    keys: tuple[str, ...],
    public_keys: tuple[str, ...],
    described: tuple[str, ...],
    pairs: tuple[str, ...],
    *,
    force: bool,
) -> None:
    """Encrypt SOURCE, a file or - for standard input, in constant memory.

    Several, or a folder, become one encrypted file. Without a store it is for the owners of the
    public keys alone.
    """
    files = _several(sources)
    chosen = output or _with_suffix(sources)
    writing = new_target(chosen, force=force)
    others = recipients_of(keys, public_keys)
    options: dict[str, Any] = {
        "context": context_of(pairs), "metadata": context_of(described, "--metadata")
    }  # fmt: skip
    size = _size(files or {sources[0]: Path(sources[0])})
    with bytes_bar("encrypt", size) as bar:
        options["progress"] = progress_of(bar)
        if target is None:
            _for_public_keys(sources, writing, others, options)
            return
        with target.session() as session:
            done = (
                session.kem.encrypt_files(
                    files, writing, key_version, algorithm, name=name, recipients=others, **options
                )
                if files
                else session.kem.encrypt_file(
                    source_of(sources[0]), writing, key_version, algorithm, name=name,
                    recipients=others, **options,
                )
            )  # fmt: skip
    _tell(
        chosen,
        f"{done.plaintext_bytes:,} bytes for {done.algorithm} version {done.key_version}",
    )


@click.command(cls=Command, example="qpher-core decrypt shop.sql.qph --output - | psql shop")
@click.argument("source")
@click.option("--output", "-o", help=f"File to write, or -; SOURCE without {_SUFFIX} if left out.")
@click.option("--folder", help="New folder to write, of a SOURCE that holds several files.")
@_NAME
@CONTEXT
@click.option("--accept-compromised", is_flag=True, help="Also with a key marked as compromised.")
@FORCE
@on_tenant
def decrypt(
    target: Target,
    source: str,
    output: str | None,
    folder: str | None,
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
    if folder is not None and output is not None:
        raise ValidationError("--output and --folder exclude each other")
    chosen = folder or output or _without_suffix(source)
    writing = Path(folder) if folder else new_target(chosen, force=force)
    with (
        target.session() as session,
        open_source(source_of(source)) as reading,
        bytes_bar("decrypt", _size({source: Path(source)})) as bar,
    ):
        whole, key = _addressed(session, reading, name)
        decrypting: Any = session.kem.decrypt_files if folder else session.kem.decrypt_file
        done = decrypting(
            whole, writing, key.version, key.algorithm, name=key.name, context=context_of(pairs),
            accept_compromised=accept_compromised, progress=progress_of(bar),
        )  # fmt: skip
    _tell(chosen, f"{done.plaintext_bytes:,} bytes")


def _for_public_keys(
    sources: tuple[str, ...], writing: Any, recipients: list[Any], options: dict[str, Any]
) -> None:
    """Encrypt without any store."""
    if not recipients or not all(isinstance(r, PublicKeyRecipient) for r in recipients):
        raise ValidationError(
            "--store or --recipient must say whom it is for, and --store with --to"
        )
    if len(sources) > 1 or Path(sources[0]).is_dir():
        raise ValidationError("without --store one file is encrypted at a time")
    encrypt_file(source_of(sources[0]), writing, recipients, **options)


def context_of(pairs: tuple[str, ...], option: str = "--context") -> Mapping[str, str] | None:
    """Return the mapping that options give; None where there are none."""
    split = [pair.partition("=") for pair in pairs]
    if not all(equals for _, equals, _ in split):
        raise ValidationError(f"{option} must be NAME=VALUE", parameter=option.lstrip("-"))
    return {name: value for name, _, value in split} or None


def progress_of(bar: BytesBar | None) -> Progress:
    """Return what moves a progress bar, if there is one."""
    return (lambda _: None) if bar is None else bar.advance


def _several(sources: tuple[str, ...]) -> dict[str, Path]:
    """Return names and paths where there is more than one file; of a folder, all in it."""
    if len(sources) == 1 and not Path(sources[0]).is_dir():
        return {}
    found = [
        (path.relative_to(Path(source).parent), path)
        for source in sources
        for path in (sorted(Path(source).rglob("*")) if Path(source).is_dir() else [Path(source)])
        if not path.is_dir()
    ]
    files = {name.as_posix(): path for name, path in found}
    if len(files) < len(found):
        raise ValidationError("two of the files have the same name")
    return files


def _size(files: Mapping[str, Path]) -> int | None:
    """Return how many bytes will be read, if that is known."""
    return None if STANDARD in files else sum(path.stat().st_size for path in files.values())


def _with_suffix(sources: tuple[str, ...]) -> str:
    if len(sources) > 1:
        raise ValidationError("--output must be given with several files")
    return STANDARD if sources[0] == STANDARD else sources[0].rstrip("/") + _SUFFIX


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
        data = ready(self._source.read(size))
        self._start.write(data)
        return data


def _addressed(session: Session, source: BinaryIO, name: str) -> tuple[Any, KeyVersion]:
    """Return the source, from its start, and the key that can open it."""
    twice: Any = _Twice(source)
    with unchanging(source):
        header = FileHeader.read(twice)
    key = own_key(session, header.recipients, name)
    twice.again()
    return twice, key
