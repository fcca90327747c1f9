# SPDX-License-Identifier: Apache-2.0
"""What every command prints with: tables, single results, JSON, and progress bars."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import click
from attrs import frozen
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

__all__ = ["BytesBar", "bytes_bar", "items_bar", "show", "show_rows"]

Row = Mapping[str, object]

_COLOURS: Final = {
    "active": "green",
    "suspended": "yellow",
    "retired": "blue",
    "archived": "bright_black",
    "compromised": "red",
    "destroyed": "bright_black",
    "ok": "green",
    "warning": "yellow",
    "problem": "bold red",
}


def show(row: Row, *, as_json: bool) -> None:
    """Print one result: ``name  value`` lines, or a JSON object."""
    if as_json:
        click.echo(json.dumps(dict(row), default=str))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in row.items():
        table.add_row(Text(_heading(name), style="bold"), _cell(value))
    _print(table)


def show_rows(rows: Sequence[Row], *, as_json: bool, nothing: str) -> None:
    """Print several results: a table, or a JSON array.

    Args:
        rows: all with the same names.
        as_json: whether to print JSON.
        nothing: what to say where there are none.
    """
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str))
        return
    if not rows:
        click.echo(nothing)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(_heading(name), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _print(table)


@frozen
class BytesBar:
    """A progress bar in bytes."""

    _bar: Progress
    _task: TaskID

    def advance(self, count: int) -> None:
        """Add to what is done."""
        self._bar.advance(self._task, count)

    def update(self, done: int, total: int) -> None:
        """Say what is done."""
        self._bar.update(self._task, completed=done, total=total)


@contextmanager
def bytes_bar(what: str, total: int | None, *, shown: bool = True) -> Iterator[BytesBar | None]:
    """Show progress in bytes with its throughput, on a terminal."""
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _bar(columns, shown=shown) as bar:
        yield None if bar is None else BytesBar(bar, bar.add_task(what, total=total))


class _ItemsPerSecond(ProgressColumn):
    """How fast items are done."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def items_bar(what: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """Show progress in items, on a terminal; the caller tells (done, total)."""
    columns = (MofNCompleteColumn(), _ItemsPerSecond(), TimeRemainingColumn())
    with _bar(columns, shown=shown) as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _bar(columns: Sequence[ProgressColumn], *, shown: bool) -> Iterator[Progress | None]:
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    start = (TextColumn("{task.description}"), BarColumn())
    with Progress(*start, *columns, console=console, transient=True) as bar:
        yield bar


def _heading(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: object) -> Text:
    text = "-" if value is None else str(value)
    return Text(text, style=_COLOURS.get(text, ""))


def _print(table: Table) -> None:
    """Print as wide as the terminal, or as wide as the content for a file or a pipe."""
    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=10_000, no_color=True)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
