# SPDX-License-Identifier: Apache-2.0
"""``qpher-core doctor``: is everything as it should be, and if not, what to do."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from qpher_core.cli._frame import NO, Command
from qpher_core.cli._output import show_rows
from qpher_core.cli._target import AS_JSON, Target, on_tenant
from qpher_core.doctor import (
    Examination,
    Finding,
    Standing,
    examine_machine,
    examine_service,
    examine_store,
)
from qpher_core.doctor.finding import problem
from qpher_core.errors import QpherError

__all__ = ["doctor"]

_PATH = click.Path(path_type=Path)


@click.command(
    cls=Command, example="qpher-core doctor --kek-backup /mnt/usb/kek --published /srv/anchors"
)
@click.option("--kek-backup", type=_PATH, help="A copy of the file of key encryption keys.")
@click.option("--published", type=_PATH, help="The folder that anchors are published to.")
@AS_JSON
@on_tenant
def doctor(
    target: Target, kek_backup: Path | None, published: Path | None, *, as_json: bool
) -> None:
    """Examine this machine and the store: files, clock, KEK, audit logs, anchors, lost records.

    Nothing is changed. Exit status: 0, no problem, though there may be warnings; 1, a problem.
    """
    with Console(stderr=True).status("examining"):
        findings = list(_examine(target, kek_backup, published))
    rows = [_row(finding, advice=as_json) for finding in findings]
    show_rows(rows, as_json=as_json, nothing="nothing")
    if not as_json:
        for finding in findings:
            if finding.advice:
                click.echo(f"{finding.standing}: {finding.check}: {finding.advice}")
    sys.exit(NO if any(f.standing is Standing.PROBLEM for f in findings) else 0)


def _examine(target: Target, kek_backup: Path | None, published: Path | None) -> Iterator[Finding]:
    yield from examine_machine()
    try:
        if target.is_remote:
            with target.session() as session:
                yield from examine_service(target.store, session, ca=os.environ.get("QPHER_CA"))
            return
        what = Examination(target.place, target.protectors, kek_backup, published, target.who)
        with target.service() as kms:
            yield from examine_store(kms, what)
    except QpherError as error:
        yield problem("store", str(error), "no command works until this is put right")


def _row(finding: Finding, *, advice: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "standing": str(finding.standing),
        "check": finding.check,
        "found": finding.found,
    }
    return {**row, "advice": finding.advice or None} if advice else row
