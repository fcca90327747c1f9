# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page that loads nothing: no script, no font, no image from elsewhere."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape
from importlib.resources import files
from typing import Final

from qpher_core.algorithms import ALGORITHMS
from qpher_core.lifecycle import KeyState
from qpher_core.models import KeyVersion, Tenant
from qpher_core.report.attention import Level, attention
from qpher_core.report.charts import bars, timeline
from qpher_core.report.dates import MILESTONES
from qpher_core.report.facts import AGES, Facts, TenantFacts
from qpher_core.service_maintenance import Due, ScheduledKey

__all__ = ["html_page"]

_CODE: Final = re.compile(r"`([^`]+)`")
_ROWS: Final = 500  # of a table; the JSON document has all

_TITLES: Final = {"cnsa2": "CNSA 2.0", "fips": "FIPS algorithms"}

_MEANINGS: Final = {
    "cnsa2": "Public-key algorithms alone: ML-KEM-1024 and ML-DSA-87. Ciphers and hashes, which "
    "CNSA 2.0 limits as well, are not looked at.",
    "fips": "Algorithms of final standards: FIPS 203, 204 and 205. This says nothing about FIPS "
    "140: neither qpher-core nor its C core is a validated module.",
}

_DUE: Final = {
    Due.LATER: Level.GOOD,
    Due.SOON: Level.WARN,
    Due.OVERDUE: Level.BAD,
    Due.ROTATED: Level.GOOD,
    Due.FAILED: Level.BAD,
}


def html_page(facts: Facts) -> str:
    """Return the page."""
    style = files("qpher_core.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " style-src 'unsafe-inline'\">\n"
        f"<title>Key report, {facts.time:%Y-%m-%d}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body><main>\n{''.join(_parts(facts))}</main></body>\n</html>\n"
    )


def _parts(facts: Facts) -> Iterable[str]:
    yield _header(facts)
    yield _tiles(facts)
    yield "<h2>What needs attention</h2>" + _attention(facts)
    yield "<h2>Keys</h2>" + _inventory(facts)
    for profile in facts.profiles:
        yield f"<h2>{_TITLES[profile]}</h2>" + _profile(facts, profile)
    yield "<h2>Rotation</h2>" + _rotation(facts)
    yield "<h2>Audit logs and anchors</h2>" + _audit(facts)
    yield "<h2>Every key version</h2>" + _keys(facts)
    yield (
        "<h2>What this report does not say</h2>"
        '<div class="card soft"><p>It covers the keys of this store and nothing else: not TLS, '
        "operating systems, backups, or keys of other systems. It reports what the store and its "
        "log say; whoever holds both the store and the anchor key could have written them. "
        "Anchors that were published elsewhere show that they did not: check one with "
        "<code>qpher-core audit verify --last-anchor</code>.</p><p>Dates are those of the "
        "publications named beside them; later editions may move them.</p></div>"
    )


def _header(facts: Facts) -> str:
    tenants = ", ".join(found.tenant.name for found in facts.tenants[:5])
    more = f" and {len(facts.tenants) - 5} more" if len(facts.tenants) > 5 else ""
    return (
        "<h1>Key report</h1>"
        f'<p class="soft">{facts.time:%Y-%m-%d %H:%M} UTC · {escape(tenants)}{more} · '
        f"{escape(facts.store)} store · qpher-core {escape(facts.version)} · "
        f"primitives: {escape(facts.provider)}</p>"
    )


def _tiles(facts: Facts) -> str:
    due = [key.due for key in facts.schedule or ()]
    overdue = due.count(Due.OVERDUE) + due.count(Due.FAILED)
    unsound = sum(not found.audit.ok for found in facts.tenants)
    entries = sum(found.audit.entries for found in facts.tenants)
    in_use, total = len(facts.in_use()), sum(1 for _ in facts.keys)
    tiles = [_tile(Level.GOOD, f"{in_use:,}", f"keys in use, of {total:,} versions")]
    for profile in facts.profiles:
        outside = sum(key.state is KeyState.ACTIVE for _, key in facts.outside(profile))
        level = Level.WARN if outside else Level.GOOD
        told = f"{outside:,} to move" if outside else "conforms"
        tiles.append(_tile(level, told, _TITLES[profile]))
    if facts.schedule is not None:
        level = Level.BAD if overdue else Level.GOOD if due else Level.WARN
        text = f"{overdue:,} overdue" if due else "no rule"
        of = f"of {len(due):,} with a rotation rule" if due else "for rotation matches a key"
        tiles.append(_tile(level, text, of))
    level = Level.BAD if unsound else Level.GOOD
    text = f"{unsound} not sound" if unsound else "sound"
    tiles.append(_tile(level, text, f"audit, {entries:,} entries verified"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(level: Level, value: str, label: str) -> str:
    return f'<div class="card tile {level}"><b>{value}</b><span>{label}</span></div>'


def _attention(facts: Facts) -> str:
    items = "".join(
        f"<li>{_badge(point.level, point.level.word)}<div>{_prose(point.text)}"
        f' <span class="soft">{_prose(point.advice)}</span></div></li>'
        for point in attention(facts)
    )
    nothing = f"<li>{_badge(Level.GOOD, 'good')}<div>Nothing.</div></li>"
    return f'<div class="card"><ul class="todo">{items or nothing}</ul></div>'


def _inventory(facts: Facts) -> str:
    ages = {label: {"active": 0} for label, _ in AGES}
    for _, key in facts.in_use():
        ages[facts.age_class(key)]["active"] += 1
    legend = "".join(
        f'<span><span class="dot {state}"></span>{state}</span>'
        for state in KeyState
        if any(row[state] for row in facts.counts.values())
    )
    chart = bars(facts.counts) if facts.counts else "<p>No keys.</p>"
    return (
        '<div class="two">'
        f'<div class="card"><h3>Versions by algorithm and state</h3>{chart}'
        f'<div class="legend">{legend}</div></div>'
        f'<div class="card"><h3>Age of the keys in use</h3>{bars(ages)}</div></div>'
    )


def _profile(facts: Facts, profile: str) -> str:
    today = facts.time.date()
    dates = "".join(
        f"<li><b>{milestone.day.isoformat()}</b> "
        f'<span class="soft">{_distance((milestone.day - today).days)}</span><br>'
        f'{escape(milestone.what)} <span class="soft">· {escape(milestone.source)}</span></li>'
        for milestone in MILESTONES[profile]
    )
    verdict = (
        _badge(Level.GOOD, "conforms")
        if facts.conforms(profile)
        else _badge(Level.WARN, "does not conform")
    )
    return (
        f'<div class="card"><p>{verdict}</p><p class="soft">{_MEANINGS[profile]}</p>'
        f"{timeline(MILESTONES[profile], today)}"
        f'<ol class="dates">{dates}</ol>{_outside(facts, profile)}</div>'
    )


def _outside(facts: Facts, profile: str) -> str:
    found = facts.outside(profile)
    if not found:
        return ""
    rows = [_key_row(facts, tenant, key) for tenant, key in found]
    in_use = sum(key.state is KeyState.ACTIVE for _, key in found)
    return (
        f"<details><summary>{len(found):,} key versions outside, {in_use:,} of them in use"
        f"</summary>{_table(_KEY_HEADS, rows)}</details>"
    )


def _rotation(facts: Facts) -> str:
    if facts.schedule is None:
        return '<div class="card">The service keeps its schedule to itself.</div>'
    if not facts.schedule:
        return (
            '<div class="card">No rotation rule matches any key: keys are in use until someone '
            "rotates them.</div>"
        )
    ranks = [Due.FAILED, Due.OVERDUE, Due.SOON, Due.LATER, Due.ROTATED]
    rows = [_due_row(key) for key in sorted(facts.schedule, key=lambda k: ranks.index(k.due))]
    heads = ("tenant", "name", "algorithm", "#version", "standing", "due", "#uses", "#of at most")
    return f'<div class="card">{_table(heads, rows)}</div>'


def _due_row(scheduled: ScheduledKey) -> Sequence[str]:
    key = scheduled.key
    return (
        escape(scheduled.tenant),
        escape(key.name),
        key.algorithm,
        str(key.version),
        _badge(_DUE[scheduled.due], str(scheduled.due)),
        f"{scheduled.due_at:%Y-%m-%d}" if scheduled.due_at else "-",
        "-" if scheduled.uses is None else f"{scheduled.uses:,}",
        "-" if scheduled.max_uses is None else f"{scheduled.max_uses:,}",
    )


def _audit(facts: Facts) -> str:
    rows = [_audit_row(found) for found in facts.tenants]
    heads = ("tenant", "log", "#entries", "last anchor", "#entries after it", "head of the chain")
    return f'<div class="card">{_table(heads, rows)}</div>'


def _audit_row(found: TenantFacts) -> Sequence[str]:
    report, anchor = found.audit, found.anchor
    verdict = (
        _badge(Level.GOOD, "sound")
        if report.ok
        else _badge(Level.BAD, f"entry {report.bad_seq}: {report.problem}")
    )
    when = f"{anchor.time:%Y-%m-%d %H:%M} UTC" if anchor else "none"
    return (
        escape(found.tenant.name),
        verdict,
        f"{report.entries:,}",
        when if found.anchors_known else "kept by the service",
        f"{found.unanchored:,}" if found.anchors_known else "-",
        f'<span class="mono">{report.head.hex()[:16]}…</span>',
    )


_KEY_HEADS: Final = ("tenant", "name", "algorithm", "#version", "state", "#age, days", "source")


def _keys(facts: Facts) -> str:
    rows = [_key_row(facts, tenant, key) for tenant, key in facts.keys]
    if not rows:
        return '<div class="card">No keys.</div>'
    return f'<div class="card">{_table(_KEY_HEADS, rows)}</div>'


def _key_row(facts: Facts, tenant: Tenant, key: KeyVersion) -> Sequence[str]:
    return (
        escape(tenant.name),
        escape(key.name),
        key.algorithm,
        str(key.version),
        f'<span class="dot {key.state}"></span>{key.state}',
        f"{facts.age(key) // timedelta(days=1):,}",
        escape(ALGORITHMS[key.algorithm].source),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; a head that begins with ``#`` is of numbers. Cells are HTML."""
    number = [head.startswith("#") for head in heads]
    marks = [' class="number"' if is_number else "" for is_number in number]
    top = "".join(f"<th{m}>{h.lstrip('#')}</th>" for h, m in zip(heads, marks, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{m}>{c}</td>' for c, m in zip(row, marks, strict=True))}</tr>"
        for row in rows[:_ROWS]
    )
    more = f"<p class='soft'>… {len(rows) - _ROWS:,} more, in the JSON document</p>"
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
        f"</div>{more if len(rows) > _ROWS else ''}"
    )


def _badge(level: Level, text: str) -> str:
    return f'<span class="badge {level}">{escape(text)}</span>'


def _prose(text: str) -> str:
    """Return text as HTML, with what stands in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _distance(days: int) -> str:
    if days <= 0:
        return "has passed" if days else "today"
    return f"in {days:,} days"
