# SPDX-License-Identifier: Apache-2.0
"""The examples in the documentation run, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from qpher_core.policy.documents import _PARSERS, parse_rules

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All Python blocks of a page, in order, form one program that works."""
    monkeypatch.chdir(tmp_path)
    program = "\n".join(_BLOCK.findall(page.read_text(encoding="utf-8")))
    exec(compile(program, str(page), "exec"), {"__name__": page.stem})


def test_the_rules_that_are_shown_are_rules() -> None:
    """The document of docs/policy.md is taken as it stands, and shows each kind but one."""
    shown = re.search(r"```json\n(.*?)```", (ROOT / "docs/policy.md").read_text(), re.DOTALL)
    assert shown is not None
    names = {rule.name for rule in parse_rules(shown[1])}
    assert names == set(_PARSERS) - {"rotation"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_to_files(page: Path) -> None:
    """Every relative link names something that is there."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
