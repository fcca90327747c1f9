# SPDX-License-Identifier: Apache-2.0
"""The page: complete in itself, safe, and drawn by a real browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qpher_core.report import Facts, html_page
from tests.report.conftest import HOSTILE

_LOADS = {"src", "href", "srcset", "data", "action", "poster", "style"}
_VOID = {"meta", "br", "img", "link", "input", "hr"}


class _Reader(HTMLParser):
    """Collects tags, what they load, and the text; checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in _LOADS]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(facts: Facts) -> str:
    """Return the page."""
    return html_page(facts)


def test_the_page_loads_nothing_and_nests(page: str) -> None:
    """No script, no image, no address of another place; every tag is closed."""
    reader = _Reader()
    reader.feed(page)
    assert reader.loads == []
    assert not {"script", "img", "link", "iframe"} & set(reader.tags)
    assert "url(" not in page
    assert reader.tags.count("svg") > 10


def test_names_are_text(page: str) -> None:
    """A tenant and a key with markup for a name do not become markup."""
    assert HOSTILE not in page
    reader = _Reader()
    reader.feed(page)
    assert HOSTILE in reader.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [340, 760, 1200])
def test_a_browser_draws_it(page: str, scheme: str, width: int, tmp_path: Path) -> None:
    """Chromium shows every chart inside the page's width, in the colours of the scheme."""
    seen = _drawn(page, scheme, width, tmp_path)
    assert seen["overflow"] == 0
    assert seen["charts"] > 10
    assert seen["smallest_chart"] > 40
    assert seen["bars"] == [[True, True]]  # every bar begins at 0, none passes its track
    light = sum(seen["background"]) > 3 * 128
    assert light == (scheme == "light")
    assert abs(sum(seen["ink"]) - sum(seen["background"])) > 300


_PROBE = """
const frame = document.querySelector('iframe');
frame.onload = () => {
  const page = frame.contentDocument, view = frame.contentWindow;
  const colour = name => view.getComputedStyle(page.body)[name].match(/\\d+/g).map(Number);
  const charts = [...page.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width);
  const inside = [...page.querySelectorAll('.bars svg')].map(s => {
    const track = s.getBoundingClientRect();
    const parts = [...s.querySelectorAll('rect:not(.track)')].map(r => r.getBoundingClientRect());
    return [
      parts.every(p => p.left >= track.left - 1), parts.every(p => p.right <= track.right + 1),
    ];
  });
  document.title = JSON.stringify({
    overflow: Math.max(0, page.documentElement.scrollWidth - frame.clientWidth),
    charts: charts.length, smallest_chart: Math.min(...charts.filter(w => w > 0)),
    bars: [...new Set(inside.map(JSON.stringify))].map(JSON.parse),
    background: colour('backgroundColor'), ink: colour('color'),
  });
};
"""


def _drawn(page: str, scheme: str, width: int, folder: Path) -> dict[str, Any]:
    """Show the page in a frame of a width and return what the browser made of it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is missing (Debian: chromium)")
    # The frame inherits no policy from its own <meta>: the probe runs in the page around it.
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}">'
    # The scheme of the frame follows that of the page around it.
    around = folder / "around.html"
    around.write_text(
        f'<!DOCTYPE html><html style="color-scheme: {scheme}"><meta charset="utf-8">'
        f"<script>addEventListener('DOMContentLoaded', () => {{{_PROBE}}})</script>"
        f"<body>{frame}</iframe></body></html>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000",
            f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000", "--dump-dom",
            around.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout.partition("<body>")[0])
    assert title, done.stdout[:500]
    seen: dict[str, Any] = json.loads(html.unescape(title[1]))
    return seen
