# SPDX-License-Identifier: Apache-2.0
"""Counts what passed, part of the contract by backend: ``make contract-matrix`` prints the table.

A pytest plug-in; ``pytest -p tests.contract.matrix tests/contract`` loads it.
"""

import re
from collections import Counter
from typing import Final

import pytest

from tests.contract.table import BACKENDS, CROSSED, SERVED

_COLUMNS: Final = (*BACKENDS, SERVED, CROSSED)
_PARAMETERS: Final = re.compile(r"\[(.*)\]$")

_passed: Final[Counter[tuple[str, str]]] = Counter()
_others: Final[Counter[tuple[str, str]]] = Counter()


def _backend(node_id: str) -> str | None:
    """Return the backend that a test ran on: the longest name that its parameters begin with."""
    found = _PARAMETERS.search(node_id)
    parts = found[1].split("-") if found else []
    return next((part for part in parts if part in _COLUMNS), None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test that ran."""
    if report.when != "call" and not report.failed and not report.skipped:
        return
    backend = _backend(report.nodeid)
    if backend is None:
        return
    module = report.nodeid.partition("::")[0].rpartition("/")[2]
    cell = module.removeprefix("test_").removesuffix(".py"), backend
    (_passed if report.passed else _others)[cell] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table as Markdown."""
    write = terminalreporter.write_line
    write("| contract of | " + " | ".join(_COLUMNS) + " |")
    write("|---" * (len(_COLUMNS) + 1) + "|")
    for module in sorted({module for module, _ in _passed | _others}):
        cells = [_cell(module, backend) for backend in _COLUMNS]
        write(f"| {module.replace('_', ' ')} | " + " | ".join(cells) + " |")


def _cell(module: str, backend: str) -> str:
    passed, others = _passed[module, backend], _others[module, backend]
    return f"{passed}, {others} not" if others else str(passed or "")
