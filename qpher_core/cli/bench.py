# SPDX-License-Identifier: Apache-2.0
"""``qpher-core bench``: the operations of every installed provider side by side."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.cli._frame import Command
from qpher_core.discovery import open_primitives
from qpher_core.measure import Case, cpu_name, interleave, timed
from qpher_core.protocols import KemScheme, Primitives, SignatureScheme

__all__ = ["bench"]

_DEFAULT: Final = ("ML-KEM-768", "X-Wing", "ML-DSA-65")
_MESSAGES: Final = [number.to_bytes(32, "big") for number in range(64)]
_BATCH: Final = 64
_BASE: Final = "openssl"


@click.command(cls=Command, example="qpher-core bench -a ML-KEM-1024 -a ML-DSA-87")
@click.option("--algorithm", "-a", "names", multiple=True, help="Algorithm to time; repeatable.")
@click.option(
    "--rounds",
    default=10,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="How often each is timed; more of them for steadier figures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(names: tuple[str, ...], rounds: int, *, as_json: bool) -> None:
    """Time the primitives of every installed provider, in turns.

    Figures are microseconds of processor time for one operation, the median of the rounds; compare
    them within one run only. Ratios are to 'openssl', or to the slowest where it has no such
    algorithm. Batches have 64 items, messages 32 bytes. 'rustcrypto' expands seeds by the C core.
    """
    rows = [_row(name) for name in names or _DEFAULT]
    cases = [case for row in rows for name in row.providers for case in _cases(row, name)]
    figures = _by_operation(_measured(cases, rounds, quiet=as_json))
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
    ciphertexts = [ciphertext for ciphertext, _ in public.encapsulate_many(_BATCH)]
    calls: Mapping[str, tuple[Callable[[], object], int]] = {
        "generate": (lambda: kem.open_seed(kem.generate_seed()), 1),
        "encapsulate": (public.encapsulate, 1),
        "decapsulate": (lambda: private.decapsulate(ciphertexts[0]), 1),
        "encapsulate, batch": (lambda: public.encapsulate_many(_BATCH), _BATCH),
        "decapsulate, batch": (lambda: private.decapsulate_many(ciphertexts), _BATCH),
    }
    for what, (call, unit) in calls.items():
        yield Case(f"{name} {what}", subject, timed(call), unit)


def _signature_cases(name: str, subject: str, scheme: SignatureScheme) -> Iterator[Case]:
    private = scheme.open_seed(scheme.generate_seed())
    public = scheme.open_public_key(private.public_key)
    pairs = [(message, private.sign(message)) for message in _MESSAGES]
    calls: Mapping[str, tuple[Callable[[], object], int]] = {
        "generate": (lambda: scheme.open_seed(scheme.generate_seed()), 1),
        # How long a signature takes depends on the message, so one call here signs all of them.
        "sign": (lambda: [private.sign(message) for message in _MESSAGES], _BATCH),
        "verify": (lambda: public.verify(*pairs[0]), 1),
        "sign, batch": (lambda: private.sign_many(_MESSAGES), _BATCH),
        "verify, batch": (lambda: public.verify_many(pairs), _BATCH),
    }
    for what, (call, unit) in calls.items():
        yield Case(f"{name} {what}", subject, timed(call), unit)


#: Operation to {subject: microseconds}.
_Figures = dict[str, dict[str, float]]


def _by_operation(figures: Mapping[Case, float]) -> _Figures:
    table: _Figures = {}
    for case, figure in figures.items():
        table.setdefault(case.operation, {})[case.subject] = figure
    return table


def _show(figures: _Figures) -> None:
    subjects = list(dict.fromkeys(subject for found in figures.values() for subject in found))
    table = Table(
        title=f"µs for one operation, median of the rounds; × as fast as {_BASE}",
        caption=f"{_cpu()}, Python {platform.python_version()}; batches of {_BATCH}",
    )
    table.add_column("operation")
    for subject in subjects:
        table.add_column(subject, justify="right")
    for operation, found in figures.items():
        ratios = _ratios(found)
        cells = [f"{found[s]:,.1f}  {ratios[s]:5.1f}×" if s in found else "-" for s in subjects]
        table.add_row(operation, *cells)
    Console().print(table)


def _ratios(found: Mapping[str, float]) -> dict[str, float]:
    """Return how many times as fast as the base each subject is; the slowest if it is not there."""
    base = found.get(_BASE, max(found.values()))
    return {subject: base / figure for subject, figure in found.items()}


def _document(figures: _Figures) -> dict[str, object]:
    return {
        "machine": _cpu(),
        "python": platform.python_version(),
        "cpu_path": getattr(open_primitives(None), "cpu_path", None),
        "microseconds": figures,
        f"times as fast as {_BASE}": {what: _ratios(found) for what, found in figures.items()},
    }


def _cpu() -> str:
    """Return the processor's name, and what the system says where it has none."""
    return cpu_name() or platform.machine()
