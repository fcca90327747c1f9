# SPDX-License-Identifier: Apache-2.0
"""The numbers of manipulations in docs/assurance.md are those of the suites."""

import re
from pathlib import Path

from tests.attack import test_exports, test_proofs, test_segments, test_selections

PAGE = Path(__file__).resolve().parents[2] / "docs" / "assurance.md"

SUITES = {
    "an export, plain and compressed": test_exports.FORGERIES,
    "a segment": test_segments.ALONE,
    "an export of chosen entries": test_selections.FORGERIES,
    "a proof, its entry or content": test_proofs.FORGERIES,
}


def test_the_numbers_are_those_of_the_suites() -> None:
    """Each row names as many manipulations as its suite has, and every name that it reports."""
    text = PAGE.read_text(encoding="utf-8")
    for what, suite in SUITES.items():
        row = re.search(rf"^\| {what} \| ([0-9]+) \| (.*?) \|", text, re.MULTILINE)
        assert row is not None, what
        assert int(row[1]) == len(suite), what
        if "as for" not in row[2]:
            assert set(row[2].split(", ")) == {str(forgery[1]) for forgery in suite.values()}
