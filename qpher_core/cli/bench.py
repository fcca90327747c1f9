# SPDX-License-Identifier: Apache-2.0
"""``qpher-core bench``: the operations of every installed provider side by side."""

import json
import platform
from collections.abc import Callable, Iterator
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.cli._frame import Command
from qpher_core.discovery import open_primitives
from qpher_core.measure import Case, interleave
from qpher_core.protocols import KemScheme, Primitives, SignatureScheme

__all__ = ["bench"]

_DEFAULT: Final = ("ML-KEM-768", "X-Wing", "ML-DSA-65")
_MESSAGES: Final = [number.to_bytes(32, "big") for number in range(64)]
_BATCH: Final = 64
_BASE: Final = "openssl"


@click.command(cls=Command, example="qpher-core bench -a ML-KEM-1024 -a ML-DSA-87")
@click.option("--algorithm", "-a", "names", multiple=True, help="Algorithm to time; repeatable.")
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(names: tuple[str, ...], rounds: int, *, as_json: bool) -> None:
    """Time the primitives of every installed provider, in turns.

    Figures are the best of the rounds, in microseconds for one operation; compare them within one
    run only. Signatures are over 32 bytes. 'rustcrypto' expands seeds by the C core.
    """
    rows = [_row(name) for name in names or _DEFAULT]
    cases = [case for row in rows for name in row.providers for case in _cases(row, name)]
    figures = _measured(cases, rounds, quiet=as_json)
    if as_json:
        click.echo(json.dumps(_document(figures), indent=1))
    else:
        _show(figures)


def _row(name: str) -> Algorithm:
    if name not in ALGORITHMS:
        raise click.BadParameter(f"{name!r} is none of: {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def _measured(cases: list[Case], rounds: int, *, quiet: bool) -> dict[Case, float]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(f"timing on {_cpu()}", total=rounds * len(cases))
        return interleave(cases, rounds=rounds, step=lambda: bar.advance(task))


def _cases(row: Algorithm, provider: str) -> Iterator[Case]:
    primitives = open_primitives(provider)
    subject = _subject(primitives)
    if row.kind is Kind.KEM:
        yield from _kem_cases(row.name, subject, primitives.kems[row.name])
    else:
        yield from _signature_cases(row.name, subject, primitives.signatures[row.name])


def _subject(primitives: Primitives) -> str:
    path = getattr(primitives, "cpu_path", None)
    return f"{primitives.name} ({path})" if path else primitives.name


def _kem_cases(name: str, subject: str, kem: KemScheme) -> Iterator[Case]:
    private = kem.open_seed(kem.generate_seed())
    public = kem.open_encapsulation_key(private.encapsulation_key)
    ciphertext, _ = public.encapsulate()
    yield Case(f"{name} generate", subject, _times(lambda: kem.open_seed(kem.generate_seed())))
    yield Case(f"{name} encapsulate", subject, _times(public.encapsulate))
    yield Case(f"{name} decapsulate", subject, _times(lambda: private.decapsulate(ciphertext)))
    yield Case(
        f"{name} encapsulate, batch of {_BATCH}",
        subject,
        _times(lambda: public.encapsulate_many(_BATCH)),
        _BATCH,
    )


def _signature_cases(name: str, subject: str, scheme: SignatureScheme) -> Iterator[Case]:
    private = scheme.open_seed(scheme.generate_seed())
    public = scheme.open_public_key(private.public_key)
    signature = private.sign(_MESSAGES[0])
    yield Case(
        f"{name} generate", subject, _times(lambda: scheme.open_seed(scheme.generate_seed()))
    )
    # The time of a signature depends on the message, so one call here signs all of them.
    yield Case(
        f"{name} sign",
        subject,
        _times(lambda: [private.sign(message) for message in _MESSAGES]),
        len(_MESSAGES),
    )
    yield Case(f"{name} verify", subject, _times(lambda: public.verify(_MESSAGES[0], signature)))
    yield Case(
        f"{name} sign, batch of {_BATCH}",
        subject,
        _times(lambda: private.sign_many(_MESSAGES)),
        len(_MESSAGES),
    )


def _times(call: Callable[[], object]) -> Callable[[int], None]:
    def run(count: int) -> None:
        for _ in range(count):
            call()

    return run


def _show(figures: dict[Case, float]) -> None:
    subjects = list(dict.fromkeys(case.subject for case in figures))
    base = next((subject for subject in subjects if subject == _BASE), subjects[0])
    table = Table(title=f"µs for one operation, best of the rounds; × as fast as {base}")
    table.add_column("operation")
    for subject in subjects:
        table.add_column(subject, justify="right")
    for operation, found in _by_operation(figures).items():
        cells = [_cell(found.get(subject), found.get(base)) for subject in subjects]
        table.add_row(operation, *cells)
    console = Console()
    console.print(table)
    console.print(f"{_cpu()}, Python {platform.python_version()}")


def _cell(figure: float | None, base: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.1f}" if base is None else f"{figure:,.1f}  {base / figure:5.1f}×"


def _by_operation(figures: dict[Case, float]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for case, figure in figures.items():
        table.setdefault(case.operation, {})[case.subject] = figure
    return table


def _document(figures: dict[Case, float]) -> dict[str, object]:
    return {
        "machine": _cpu(),
        "python": platform.python_version(),
        "microseconds": _by_operation(figures),
    }


def _cpu() -> str:
    """Return the processor's name, and what the system says where it has none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a line at a time
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        return platform.machine()
    return platform.machine()
