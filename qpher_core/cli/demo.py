# SPDX-License-Identifier: Apache-2.0
"""``qpher-core demo``: the main job on real files, up to catching a forged audit log."""

import filecmp
import hashlib
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import click
from attrs import define, field, frozen
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

import qpher_core
from qpher_core.cli._frame import NO, Command
from qpher_core.cli.samples import make_samples
from qpher_core.errors import QpherError, ValidationError

__all__ = ["demo"]

T = TypeVar("T")

_KEM: Final = "ML-KEM-768"
_SIGNATURE: Final = "ML-DSA-65"
_HASH: Final = "SHA-512"
_LARGE_BYTES: Final = 10_000_000  # from here on a progress bar is worth having


@frozen
class Step:
    """One line of the closing table."""

    what: str
    outcome: str
    good: bool
    seconds: float


@frozen
class Sealed:
    """An encrypted and signed file."""

    source: Path
    encrypted: Path
    digest: bytes
    signature: bytes


@define
class Demo:
    """Does the steps and keeps account of them."""

    folder: Path
    console: Console
    steps: list[Step] = field(factory=list)

    def do(self, what: str, work: Callable[[], T], outcome: Callable[[T], str]) -> T:
        """Run a step that must succeed."""
        started = time.perf_counter()
        value = work()
        self._add(Step(what, outcome(value), good=True, seconds=time.perf_counter() - started))
        return value

    def refuse(self, what: str, expected: type[QpherError], work: Callable[[], object]) -> None:
        """Run a step that must be refused."""
        started = time.perf_counter()
        try:
            work()
        except expected as error:
            outcome, good = f"refused: {error}", True
        else:
            outcome, good = "NOT REFUSED", False
        self._add(Step(what, outcome, good, time.perf_counter() - started))

    def check(self, what: str, work: Callable[[], bool], outcome: str) -> None:
        """Run a step that must come out true."""
        started = time.perf_counter()
        good = work()
        seconds = time.perf_counter() - started
        self._add(Step(what, outcome if good else f"FAILED: not {outcome}", good, seconds))

    def table(self) -> Table:
        """Return the closing table."""
        table = Table(title="What happened", title_justify="left")
        table.add_column("step")
        table.add_column("outcome", overflow="fold")
        table.add_column("ms", justify="right")
        for step in self.steps:
            style = "" if step.good else "bold red"
            table.add_row(step.what, step.outcome, f"{step.seconds * 1000:,.1f}", style=style)
        return table

    @contextmanager
    def bar(self, what: str, path: Path) -> Iterator[Callable[[int], None]]:
        """Show a progress bar for a large file."""
        size = path.stat().st_size
        if size < _LARGE_BYTES:
            yield lambda _: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(what, total=size)
            yield lambda count: progress.advance(task, count)

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        mark = "[green]ok[/]" if step.good else "[red]BAD[/]"
        self.console.print(f"{mark}  {step.what}", highlight=False)


@click.command(cls=Command, example="qpher-core demo report.pdf backup.tar")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder to make; one that is there is replaced.",
)
def demo(files: tuple[Path, ...], output: Path) -> None:
    """Do the main job on FILES, or on samples: from keys to catching a forged audit log.

    Exit status: 0, everything behaved as it must; 1, something did not.
    """
    _make_folder(output)
    work = Demo(output, Console())
    with qpher_core.open(f"sqlite:///{output}/qpher.db") as kms:
        _run(work, kms, list(files) or make_samples(output / "files"))
    work.console.print(work.table())
    sys.exit(0 if all(step.good for step in work.steps) else NO)


def _make_folder(output: Path) -> None:
    """Make an empty folder; one is replaced only if it is a demo's."""
    if output.exists() and any(output.iterdir()) and not (output / "qpher.db").exists():
        raise ValidationError(f"{output} holds something else than a demo", parameter="output")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)


def _run(demo: Demo, kms: qpher_core.Qpher, files: list[Path]) -> None:
    demo.do("create tenant 'acme'", lambda: kms.tenants.create("acme"), lambda t: f"id {t.id}")
    acme = kms.session("acme", actor="demo")
    for algorithm in (_KEM, _SIGNATURE):
        _generate(demo, acme, algorithm)
    protected = [_protect(demo, acme, index, path) for index, path in enumerate(files)]
    for algorithm in (_KEM, _SIGNATURE):
        _rotate(demo, acme, algorithm)
    for item in protected:
        _prove(demo, acme, item)
    _retire(demo, acme, protected[0])
    _restrict(demo, kms)
    _tamper(demo, kms)


def _generate(demo: Demo, acme: qpher_core.Session, algorithm: str) -> None:
    demo.do(
        f"generate {algorithm} key",
        lambda: acme.keys.generate(algorithm),
        lambda key: f"version {key.version}, {key.state}, {len(key.public_key)} byte key",
    )


def _rotate(demo: Demo, acme: qpher_core.Session, algorithm: str) -> None:
    demo.do(
        f"rotate {algorithm}",
        lambda: acme.keys.rotate(algorithm),
        lambda r: f"version {r.old_key_version} retired, version {r.key_version} active",
    )


def _protect(demo: Demo, acme: qpher_core.Session, index: int, path: Path) -> Sealed:
    encrypted = demo.folder / f"{index:02}-{path.name}.qph"
    context = {"file": path.name}

    def encrypt() -> int:
        with demo.bar(f"encrypting {path.name}", path) as progress:
            result = acme.kem.encrypt_file(path, encrypted, context=context, progress=progress)
        return result.ciphertext_bytes

    size = path.stat().st_size
    demo.do(f"encrypt {path.name}", encrypt, lambda n: f"{decimal(size)} to {decimal(n)}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    signed = demo.do(
        f"sign {path.name}",
        lambda: acme.signatures.sign_hash(digest, _HASH, context=context),
        lambda s: f"{len(s.signature)} byte signature, audit entry {s.receipt.seq}",
    )
    return Sealed(path, encrypted, digest, signed.signature)


def _prove(demo: Demo, acme: qpher_core.Session, item: Sealed) -> None:
    context = {"file": item.source.name}
    clear = item.encrypted.with_suffix(".clear")

    def opens() -> bool:
        with demo.bar(f"decrypting {item.source.name}", item.source) as progress:
            acme.kem.decrypt_file(item.encrypted, clear, 1, context=context, progress=progress)
        return filecmp.cmp(item.source, clear, shallow=False)

    def verifies() -> bool:
        signature = acme.signatures.verify_hash(
            item.digest, _HASH, item.signature, 1, context=context
        )
        return signature.valid

    demo.check(f"old {item.source.name} still opens", opens, "equal to the original")
    demo.check(f"old signature of {item.source.name}", verifies, "valid")


def _retire(demo: Demo, acme: qpher_core.Session, item: Sealed) -> None:
    def encrypt_with_old() -> object:
        return acme.kem.encrypt(b"new data", key_version=1)

    def decrypt_with_old() -> object:
        target = demo.folder / "must-not-appear"
        return acme.kem.decrypt_file(item.encrypted, target, 1, context={"file": item.source.name})

    demo.refuse("encrypt with the retired version", qpher_core.StateConflict, encrypt_with_old)
    demo.do(
        f"archive {_KEM} version 1",
        lambda: acme.keys.archive(_KEM, 1, reason="demo"),
        lambda key: f"now {key.state}",
    )
    demo.refuse("decrypt with the archived version", qpher_core.StateConflict, decrypt_with_old)


def _restrict(demo: Demo, kms: qpher_core.Qpher) -> None:
    kms.tenants.create("tiny", plan="free")
    tiny = kms.session("tiny", actor="demo")
    demo.refuse(
        "generate a hybrid key on plan 'free'",
        qpher_core.PermissionDenied,
        lambda: tiny.keys.generate("X-Wing"),
    )


def _tamper(demo: Demo, kms: qpher_core.Qpher) -> None:
    demo.do(
        "verify the audit log",
        lambda: kms.audit.verify("acme"),
        lambda report: f"{report.entries} entries, chain intact",
    )
    copy, altered = demo.folder / "tampered.db", 4
    _copy_database(demo.folder / "qpher.db", copy)
    shutil.copy2(demo.folder / "qpher.db.kek", f"{copy}.kek")
    _alter_entry(copy, str(kms.tenants.get("acme").id), altered)
    with qpher_core.open(f"sqlite:///{copy}") as forged:
        started = time.perf_counter()
        report = forged.audit.verify("acme")
        seconds = time.perf_counter() - started
    outcome = f"caught: entry {report.bad_seq}: {report.problem}"
    good = report.bad_seq == altered
    demo.steps.append(Step(f"alter entry {altered} in a copy and verify", outcome, good, seconds))


def _copy_database(source: Path, target: Path) -> None:
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    reading.backup(writing)
    reading.close()
    writing.close()


def _alter_entry(path: Path, tenant_id: str, seq: int) -> None:
    """Do what someone with the file and a SQL prompt would do: blame another actor."""
    database = sqlite3.connect(path)
    with database:
        database.execute("DROP TRIGGER audit_entries_fixed")
        database.execute(
            "UPDATE audit_entries SET body = CAST(replace(CAST(body AS TEXT), '\"demo\"',"
            " '\"mallory\"') AS BLOB) WHERE tenant_id = ? AND seq = ?",
            (tenant_id, seq),
        )
    database.close()
