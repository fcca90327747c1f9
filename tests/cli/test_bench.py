# SPDX-License-Identifier: Apache-2.0
"""``qpher-core bench`` and what it measures with."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from qpher_core.algorithms import ALGORITHMS
from qpher_core.cli.main import main
from qpher_core.measure import Case, interleave, timed


def test_every_case_takes_its_turn() -> None:
    """Cases alternate, each as often as there are rounds; figures are medians for one operation."""
    turns: list[str] = []
    taken = {"a": iter([5e-6, 5e-6, 5e-3, 15e-6]), "b": iter([1e-6, 2e-6, 3e-6, 4e-6])}

    def case(name: str) -> Case:
        def run(count: int) -> float:
            turns.append(name)
            return count * next(taken[name])

        return Case("work", name, run, 5)

    cases, steps = [case("a"), case("b")], list[None]()
    figures = interleave(cases, rounds=3, step=lambda: steps.append(None), seconds=0)
    assert turns == ["a", "b"] * 4
    assert len(steps) == 6
    assert figures == {cases[0]: pytest.approx(3.0), cases[1]: pytest.approx(0.6)}


def test_timed_counts_calls_by_its_clock() -> None:
    """A call is made as often as asked for, and the seconds are those of the given clock."""
    calls, ticks = list[None](), iter([10.0, 12.5])
    assert timed(lambda: calls.append(None), lambda: next(ticks))(3) == 2.5
    assert len(calls) == 3


@pytest.mark.parametrize("name", ["ML-KEM-768", "ML-DSA-65"])
def test_the_table_has_every_provider(name: str) -> None:
    """JSON has a figure and a ratio for each operation and provider, and names the code path."""
    result = CliRunner().invoke(main, ["bench", "-a", name, "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    operations, ratios = document["microseconds"], document["times as fast as openssl"]
    assert len(operations) == 5
    for what, figures in operations.items():
        assert {subject.partition(" ")[0] for subject in figures} == {*ALGORITHMS[name].providers}
        assert all(figure > 0 for figure in figures.values())
        assert ratios[what] == {s: figures["openssl"] / figure for s, figure in figures.items()}
    assert f"native ({document['cpu_path']})" in operations[f"{name} generate"]


def test_the_code_path_in_use_is_named() -> None:
    """With QPHER_NATIVE_CPU=portable the portable path is what is timed and named."""
    code = "from qpher_core.cli.main import main; main()"
    command = [sys.executable, "-c", code, "bench", "-a", "ML-KEM-512", "--rounds", "1", "--json"]
    environment = os.environ | {"QPHER_NATIVE_CPU": "portable"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["cpu_path"] == "portable"
    for what, figures in document["microseconds"].items():
        assert "native (portable)" in figures
        assert min(document["times as fast as openssl"][what].values()) == 1  # openssl has it not


def test_people_get_a_table() -> None:
    """Without --json there is a table with ratios."""
    result = CliRunner().invoke(main, ["bench", "-a", "X-Wing", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert "X-Wing encapsulate" in result.output
    assert "×" in result.output


def test_unknown_algorithms_are_named() -> None:
    """A name that is no algorithm is refused with the choice."""
    result = CliRunner().invoke(main, ["bench", "-a", "RSA"])
    assert result.exit_code == 2
    assert "'RSA' is none of" in result.output
