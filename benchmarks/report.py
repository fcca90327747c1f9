# SPDX-License-Identifier: Apache-2.0
"""Writes the measured part of docs/performance.md, and its chart: ``make bench``.

All subjects take turns in one process (PQClean in one beside it), three runs; what is spread over
threads takes its turns after the others, as its batches would empty their caches. Samples are
processor time of the calling thread (with several threads the time of day), and a run's figure is
their median. A ratio is that of two figures of one run; the table has the median of the three runs
and, where they differ by more than a twentieth, their range.
"""

import argparse
import contextlib
import platform
import statistics
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from rich.progress import Progress

from benchmarks.goals import GOALS, Goal
from benchmarks.peers import PQClean, liboqs, rustcrypto
from benchmarks.subjects import BATCH, native, openssl
from qpher_core.measure import Case, cpu_name, interleave

RUNS: Final = 3
ROUNDS: Final = 7
DOCUMENT: Final = Path("docs/performance.md")
CHART: Final = Path("docs/performance.svg")
BEGIN: Final = "<!-- measured: written by benchmarks/report.py -->"
END: Final = "<!-- measured: end -->"
PATHS: Final = ("native avx512", "native avx2", "native portable")
SUBJECTS: Final = (*PATHS, "cryptography", "pqcrypto 1.0", "liboqs", "PQClean C")
NOTE: Final = (
    "Figures are processor time of the calling thread, with several threads the time of day; a "
    "run's figure is the median of its rounds, in which all subjects take their turn. The ratios "
    "are the median of {runs} runs, with their range where it exceeds a twentieth; ratios within "
    "one run hold, figures of different runs and machines do not compare."
)

#: Operation to {subject: microseconds}, of one run.
Run = dict[str, dict[str, float]]


def measure(cases: Sequence[Case], *, runs: int, rounds: int) -> list[Run]:
    """Return the figures of all runs."""
    found = []
    groups = (
        [case for case in cases if "thread" not in case.operation],
        [case for case in cases if "thread" in case.operation],
    )
    with Progress(refresh_per_second=2) as bar:
        task = bar.add_task("measuring", total=runs * rounds * len(cases))
        for _ in range(runs):
            run: Run = {}
            for group in groups:
                figures = interleave(group, rounds=rounds, step=lambda: bar.advance(task))
                for case, figure in figures.items():
                    run.setdefault(case.operation, {})[case.subject] = figure
            found.append(run)
    return found


def ratios(runs: Sequence[Run], goal: Goal) -> list[float] | None:
    """Return how a goal's ratio came out in each run; None where something was not measured."""
    base = goal.base_operation or goal.what
    try:
        return [run[base][goal.base] / run[goal.what][goal.subject] for run in runs]
    except KeyError:
        return None


def spread(values: Sequence[float]) -> str:
    """Return the median, and the range where it is wide."""
    middle, low, high = statistics.median(values), min(values), max(values)
    text = f"{middle:.2f}" if middle < 10 else f"{middle:.1f}"
    return text if high < 1.05 * low else f"{text} ({low:.2f} to {high:.2f})"


def goal_table(runs: Sequence[Run]) -> list[str]:
    """Return the goals as rows of a table."""
    lines = ["| operation | of | against | goal | measured | |", "|---|---|---|---|---|---|"]
    for goal in GOALS:
        found = ratios(runs, goal)
        if found is None:
            continue
        wanted, verdict = "", ""
        if goal.goal is not None:
            wanted = f"{goal.goal:.2f}"
            verdict = "reached" if statistics.median(found) >= goal.goal else "not reached"
        lines.append(
            f"| {goal.what} | {goal.subject} | {goal.against} | {wanted} "
            f"| {spread(found)} | {verdict} |"
        )
    return lines


def figure_table(runs: Sequence[Run]) -> list[str]:
    """Return every figure, the median of the runs, as rows of a table."""
    subjects = [s for s in SUBJECTS if any(s in figures for figures in runs[0].values())]
    lines = ["| µs | " + " | ".join(subjects) + " |", "|---" * (len(subjects) + 1) + "|"]
    for operation, figures in runs[0].items():
        cells = [
            f"{statistics.median(run[operation][s] for run in runs):,.1f}" if s in figures else ""
            for s in subjects
        ]
        lines.append(f"| {operation} | " + " | ".join(cells) + " |")
    return lines


def draw(runs: Sequence[Run]) -> None:
    """Draw how much faster each code path is than pyca/cryptography, beside its goal."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "qpher-core"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the backend is chosen first

    goals = [g for g in GOALS if g.base == "cryptography" and not g.base_operation]
    operations = list(dict.fromkeys(goal.what for goal in goals))
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for place, subject in enumerate(PATHS):
        bars = []
        for operation in operations:
            found = ratios(runs, Goal(operation, subject, "cryptography", None))
            bars.append(statistics.median(found) if found else 0.0)
        places = [index + (place - 1) * 0.27 for index in range(len(operations))]
        container = axes.bar(places, bars, 0.25, label=subject)
        axes.bar_label(container, fmt="%.1f", fontsize=7, padding=2)
        for at, operation in zip(places, operations, strict=True):
            for goal in goals:
                if goal.goal is not None and (goal.what, goal.subject) == (operation, subject):
                    axes.hlines(goal.goal, at - 0.13, at + 0.13, color="black", linewidth=1)
    axes.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(operations)), [o.replace(" ", "\n", 1) for o in operations])
    axes.set_ylabel("times as fast as pyca/cryptography (line: goal)")
    axes.legend()
    figure.savefig(CHART, metadata={"Date": None})


def write(runs: Sequence[Run]) -> None:
    """Replace the measured part of the document."""
    measured = [
        BEGIN,
        textwrap.fill(
            f"Measured with `make bench` on {cpu_name() or platform.machine()}, one core, Python "
            f"{platform.python_version()}, from Python. {NOTE.format(runs=len(runs))}",
            width=100,
        ),
        "",
        *goal_table(runs),
        "",
        "![Speed relative to pyca/cryptography](performance.svg)",
        "",
        textwrap.fill(
            "Every figure, for one operation, the median of the runs. Batches have "
            f"{BATCH} items; signing is of CCTV's messages, hedged. PQClean, pqcrypto and liboqs "
            "know encoded keys only; what is not installed is not here.",
            width=100,
        ),
        "",
        *figure_table(runs),
        END,
    ]
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + "\n".join(measured) + after, encoding="utf-8")


def main() -> int:
    """Measure, print the goals, and write unless it was a quick look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run; writes nothing")
    parser.add_argument("--pqclean", help="a Python with pqcrypto 0.4.0")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        cases = [*native(), *openssl(), *rustcrypto(), *liboqs()]
        if arguments.pqclean:
            cases += stack.enter_context(PQClean(arguments.pqclean)).cases()
        if arguments.quick:
            runs = measure(cases, runs=1, rounds=3)
        else:
            runs = measure(cases, runs=RUNS, rounds=ROUNDS)
    print("\n".join(goal_table(runs)))
    if not arguments.quick:
        write(runs)
        draw(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
