# SPDX-License-Identifier: Apache-2.0
"""``qpher-core bench`` and what it measures with."""

import json

import pytest
from click.testing import CliRunner

from qpher_core.algorithms import ALGORITHMS
from qpher_core.cli.main import main
from qpher_core.measure import Case, interleave


def test_every_case_takes_its_turn() -> None:
    """Cases alternate, each as often as there are rounds; times are for one operation."""
    turns: list[str] = []
    cases = [Case("work", name, lambda _, name=name: turns.append(name), 5) for name in "ab"]
    steps: list[None] = []
    figures = interleave(cases, rounds=3, step=lambda: steps.append(None), seconds=0)
    assert turns[-6:] == ["a", "b"] * 3
    assert len(steps) == 6
    assert all(0 < figure < 1e6 for figure in figures.values())


@pytest.mark.parametrize("name", ["ML-KEM-768", "ML-DSA-65"])
def test_the_table_has_every_provider(name: str) -> None:
    """JSON has a figure for each operation and provider, and names the code path."""
    result = CliRunner().invoke(main, ["bench", "-a", name, "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    operations = document["microseconds"]
    assert len(operations) == 4
    for figures in operations.values():
        assert {subject.partition(" ")[0] for subject in figures} == {*ALGORITHMS[name].providers}
        assert all(figure > 0 for figure in figures.values())


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
