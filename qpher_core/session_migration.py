# SPDX-License-Identifier: Apache-2.0
"""``session.migrate``: moving values, columns and files to another key version or algorithm."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from qpher_core.calls import Runner
from qpher_core.errors import ValidationError
from qpher_core.field_values import Secrets
from qpher_core.migration.engine import Engine
from qpher_core.migration.folders import FolderSource
from qpher_core.migration.journal import Journal
from qpher_core.migration.parts import ContextOf, Finder
from qpher_core.migration.reencrypt import Reencryptor
from qpher_core.migration.remote import RemoteReencryptor
from qpher_core.migration.report import ItemId, MigrationReport, Progress
from qpher_core.migration.sources import IterableSource, Sink, Source
from qpher_core.migration.sql import SqlColumn, SqlSource
from qpher_core.models import RequestContext
from qpher_core.protocols import KeyStore
from qpher_core.session_batches import MOST_ITEMS
from qpher_core.session_kem import check_salt, kem_selector
from qpher_core.session_keys import Keys
from qpher_core.validation import check_context, check_positive

__all__ = ["MigrationSource", "Migrator"]

#: A column; a file or directory; or pairs of an id and a ciphertext.
MigrationSource: TypeAlias = (
    SqlColumn | str | os.PathLike[str] | Iterable[tuple[ItemId, bytes | None]]
)

_LONGEST_NOTE = 200
_MOST_THREADS = 64


@frozen
class Migrator:
    """Implements :meth:`Session.migrate`."""

    _pipeline: Runner
    _keys: KeyStore
    _context: RequestContext
    _own: Keys

    def run(
        self,
        source: MigrationSource,
        *,
        to_algorithm: str,
        to_version: int | None,
        name: str,
        context: Mapping[str, str] | ContextOf | None,
        sink: Sink | None,
        journal: str | os.PathLike[str] | None,
        dry_run: bool,
        batch: int,
        threads: int,
        rate: float | None,
        accept_compromised: bool,
        salt: bytes | None,
        progress: Progress,
    ) -> MigrationReport:
        """Check what was asked for, and do it."""
        target = kem_selector(name, to_algorithm, to_version)
        bound = context if callable(context) else check_context(context)
        _check_range(batch, "batch", MOST_ITEMS)
        _check_range(threads, "threads", _MOST_THREADS)
        if rate is not None:
            check_positive(rate, "rate")
        path = None if journal is None else _path(journal)
        opened = _open_source(source, sink, path, dry_run=dry_run)
        secret = None if salt is None else Secrets.of(check_salt(salt)).keys
        reencryptor = (Reencryptor if self._pipeline.here else RemoteReencryptor)(
            self._pipeline,
            self._keys,
            self._context,
            target,
            _printable(opened.name)[:_LONGEST_NOTE],
            accept_compromised,
            secret,
        )
        engine = Engine(
            keys=self._own,
            finder=Finder(self._own, target, bound, secret),
            reencryptor=reencryptor,
            source=opened,
            batch=batch,
            threads=threads,
            rate=rate,
            dry_run=dry_run,
            progress=progress,
        )
        subject = {
            "tenant": str(self._context.tenant_id),
            "source": opened.place,
            "name": target.name,
            "to_algorithm": target.algorithm.name,
            "to_version": target.version,
        }
        with Journal(None if dry_run else path, subject) as kept:
            return engine.run(kept)


def _open_source(
    source: MigrationSource, sink: Sink | None, journal: Path | None, *, dry_run: bool
) -> Source:
    if isinstance(source, bytes | bytearray) or not isinstance(
        source, SqlColumn | str | os.PathLike | Iterable
    ):
        raise ValidationError(
            "source must be a SqlColumn, a path or pairs of an id and a ciphertext",
            parameter="source",
        )
    pairs = not isinstance(source, SqlColumn | str | os.PathLike)
    if (sink is not None) != pairs and not (pairs and dry_run):
        raise ValidationError(
            "sink goes with an iterable source, and with no other", parameter="sink"
        )
    if sink is not None and not callable(sink):
        raise ValidationError("sink must be a function", parameter="sink")
    if isinstance(source, SqlColumn):
        return SqlSource(source)
    if isinstance(source, str | os.PathLike):
        return FolderSource(Path(source), journal)
    return IterableSource(source, sink or (lambda _: None), "values")


def _path(journal: object) -> Path:
    if not isinstance(journal, str | os.PathLike):
        raise ValidationError("journal must be a path", parameter="journal")
    return Path(journal)


def _printable(name: str) -> str:
    """Return a name for the audit log: a path may hold bytes that are no text."""
    return name.encode(errors="backslashreplace").decode()


def _check_range(value: object, parameter: str, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValidationError(f"{parameter} must be from 1 to {most}", parameter=parameter)
