# SPDX-License-Identifier: Apache-2.0
"""Writes the measured part of docs/performance.md, and its chart: ``make bench``.

All subjects take turns in one process (PQClean in one beside it), three runs. A ratio is that of
the best samples of one run; the table has the median of the three runs and, where they differ by
more than a tenth, their range.
"""

import argparse
import contextlib
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from attrs import frozen
from rich.progress import Progress
from subjects import BATCH, PQClean, here

from qpher_core.measure import Case, interleave

RUNS: Final = 3
DOCUMENT: Final = Path("docs/performance.md")
CHART: Final = Path("docs/performance.svg")
BEGIN: Final = "<!-- measured: written by benchmarks/report.py -->"
END: Final = "<!-- measured: end -->"
SUBJECTS: Final = (
    "native avx512",
    "native avx2",
    "native portable",
    "cryptography",
    "pqcrypto 1.0",
    "PQClean C",
)

#: Operation to {subject: microseconds}, of one run.
Run = dict[str, dict[str, float]]


@frozen
class Goal:
    """A ratio to reach: how much faster ``subject`` is at an operation than another thing."""

    what: str
    subject: str
    base: str
    goal: float
    base_operation: str = ""


def _goals() -> list[Goal]:
    kem, dsa = "ML-KEM-768", "ML-DSA-65"
    rows = [
        (f"{kem} encapsulate", 6.4, 4.5),
        (f"{kem} decapsulate", 5.3, 4.0),
        (f"{dsa} sign", 17.0, 11.0),
        (f"{dsa} verify", 23.0, 17.0),
        (f"{kem} generate", 12.0, 7.5),
        (f"{dsa} generate", 7.5, 4.8),
    ]
    goals = [Goal(what, "native avx512", "cryptography", high) for what, high, _ in rows]
    goals += [Goal(what, "native avx2", "cryptography", low) for what, _, low in rows]
    singles = (
        f"{kem} generate",
        f"{kem} encapsulate",
        f"{kem} decapsulate",
        f"{dsa} sign",
        f"{dsa} verify",
    )
    for subject, goal in (("native avx512", 1.6), ("native avx2", 1.15)):
        goals += [Goal(f"{single}, batch", subject, subject, goal, single) for single in singles]
    shake = "SHAKE256 of 1 MiB"
    goals += [
        Goal(f"{dsa} verify, 1 MiB", subject, subject, 1 / 1.1, shake) for subject in SUBJECTS[:3]
    ]
    for what in ("generate", "encapsulate, encoded key", "decapsulate, encoded key"):
        goals.append(Goal(f"{kem} {what}", "native portable", "PQClean C", 1.3))
    for what in ("generate", "sign, encoded key", "verify, encoded key"):
        goals.append(Goal(f"{dsa} {what}", "native portable", "PQClean C", 1.3))
    return goals


def measure(cases: Sequence[Case], rounds: int) -> list[Run]:
    """Return the figures of all runs."""
    runs = []
    with Progress() as bar:
        task = bar.add_task("measuring", total=RUNS * rounds * len(cases))
        for _ in range(RUNS):
            run: Run = {}
            found = interleave(cases, rounds=rounds, step=lambda: bar.advance(task))
            for case, figure in found.items():
                run.setdefault(case.operation, {})[case.subject] = figure
            runs.append(run)
    return runs


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
    return text if high < 1.1 * low else f"{text} ({low:.2f} to {high:.2f})"


def goal_table(runs: Sequence[Run]) -> list[str]:
    """Return the goals as rows of a table."""
    lines = ["| operation | of | against | goal | measured | |", "|---|---|---|---|---|---|"]
    for goal in _goals():
        found = ratios(runs, goal)
        if found is None:
            continue
        against = goal.base if not goal.base_operation else goal.base_operation
        verdict = "reached" if statistics.median(found) >= goal.goal else "not reached"
        lines.append(
            f"| {goal.what} | {goal.subject} | {against} | {goal.goal:.2f} "
            f"| {spread(found)} | {verdict} |"
        )
    return lines


def figure_table(runs: Sequence[Run]) -> list[str]:
    """Return every figure of the last run as rows of a table."""
    lines = ["| µs | " + " | ".join(SUBJECTS) + " |", "|---" * (len(SUBJECTS) + 1) + "|"]
    for operation, figures in runs[-1].items():
        cells = [f"{figures[s]:,.1f}" if s in figures else "" for s in SUBJECTS]
        lines.append(f"| {operation} | " + " | ".join(cells) + " |")
    return lines


def draw(runs: Sequence[Run]) -> None:
    """Draw how much faster each code path is than pyca/cryptography."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "qpher-core"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the backend is chosen first

    wanted = [goal.what for goal in _goals() if goal.base == "cryptography"]
    operations = list(dict.fromkeys(wanted))
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for place, subject in enumerate(SUBJECTS[:3]):
        bars = []
        for operation in operations:
            found = ratios(runs, Goal(operation, subject, "cryptography", 0))
            bars.append(statistics.median(found) if found else 0.0)
        places = [index + (place - 1) * 0.27 for index in range(len(operations))]
        container = axes.bar(places, bars, 0.25, label=subject)
        axes.bar_label(container, fmt="%.1f", fontsize=7)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(operations)), [o.replace(" ", "\n", 1) for o in operations])
    axes.set_ylabel("times as fast as pyca/cryptography")
    axes.legend()
    figure.savefig(CHART, metadata={"Date": None})


def write(runs: Sequence[Run]) -> None:
    """Replace the measured part of the document."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    measured = [
        BEGIN,
        (
            f"Measured with `make bench` on {models[0] if models else platform.machine()}, one "
            f"core, Python {platform.python_version()}, from Python, {RUNS} runs. Figures of "
            "different runs are not comparable, ratios within one run are."
        ),
        "",
        *goal_table(runs),
        "",
        "![Speed relative to pyca/cryptography](performance.svg)",
        "",
        (
            "Every figure of the last run, the best of its samples, for one operation; batches "
            f"have {BATCH} items (signing: 100 messages). PQClean and pqcrypto know encoded keys "
            "only."
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
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pqclean", help="a Python with pqcrypto 0.4.0")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        cases = list(here())
        if arguments.pqclean:
            cases += stack.enter_context(PQClean(arguments.pqclean)).cases()
        runs = measure(cases, arguments.rounds)
    write(runs)
    draw(runs)
    print("\n".join(goal_table(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
