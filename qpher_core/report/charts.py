# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG. Places are percentages, so that they fit any width undistorted."""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

from qpher_core.report.dates import Milestone

__all__ = ["bars", "timeline"]

_BAR = 16  # height in pixels


def bars(rows: Mapping[str, Mapping[str, int]]) -> str:
    """Return stacked horizontal bars: by label, the count of each class.

    The classes name the CSS classes of the parts; the longest bar takes the whole width.
    """
    longest = max((sum(parts.values()) for parts in rows.values()), default=0) or 1
    lines = "".join(_bar_row(label, parts, longest) for label, parts in rows.items())
    return f'<div class="bars">{lines}</div>'


def timeline(milestones: Sequence[Milestone], today: date) -> str:
    """Return an axis in years with a mark for each date, numbered as in the list below it."""
    first, last = min(milestones[0].day, today).year, max(milestones[-1].day, today).year + 1
    start, span = date(first, 1, 1), (date(last, 1, 1) - date(first, 1, 1)).days

    def place(day: date) -> str:
        return f"{2 + 96 * (day - start).days / span:.2f}%"

    years = "".join(
        f'<line class="tick" x1="{place(date(year, 1, 1))}" x2="{place(date(year, 1, 1))}"'
        f' y1="26" y2="34"/>'
        f'<text class="year" x="{place(date(year, 1, 1))}" y="50">{year}</text>'
        for year in range(first, last + 1, 1 if last - first < 7 else 2)
    )
    marks = "".join(
        f"<g><title>{milestone.day.isoformat()}: {escape(milestone.what)}</title>"
        f'<circle class="{"past" if milestone.day <= today else "ahead"}"'
        f' cx="{place(milestone.day)}" cy="30" r="6"/>'
        f'<text class="number" x="{place(milestone.day)}" y="16">{number}</text></g>'
        for number, milestone in enumerate(milestones, 1)
    )
    now = place(today)
    return (
        '<svg class="timeline" width="100%" height="56" role="img" aria-label="dates on an axis">'
        '<line class="axis" x1="2%" x2="98%" y1="30" y2="30"/>'
        f'<line class="today" x1="{now}" x2="{now}" y1="20" y2="40"/>{years}{marks}'
        f"<title>today: {today.isoformat()}</title></svg>"
    )


def _bar_row(label: str, parts: Mapping[str, int], longest: int) -> str:
    shapes, left = "", 0.0
    for name, count in parts.items():
        width = 100 * count / longest
        if count:
            shapes += (
                f'<rect class="{escape(name)}" x="{left:.2f}%" width="{width:.2f}%" y="0"'
                f' height="{_BAR}"><title>{count} {escape(name)}</title></rect>'
            )
        left += width
    told = ", ".join(f"{count} {name}" for name, count in parts.items() if count) or "none"
    told = escape(f"{label}: {told}")
    return (
        f'<div class="label">{escape(label)}</div>'
        f'<svg width="100%" height="{_BAR}" role="img" aria-label="{told}">'
        f'<rect class="track" width="100%" height="{_BAR}"/>{shapes}</svg>'
        f'<div class="count">{sum(parts.values()):,}</div>'
    )
