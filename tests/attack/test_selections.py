# SPDX-License-Identifier: Apache-2.0
"""Exports of chosen entries: what was asked for is there, and each forgery is named."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_core import EntryFilter, NotFound, Problem, ValidationError, VerifierKey, verify_exports
from qpher_core.audit.selected import verify_selection
from qpher_core.models import canonical_json

KEM = "ML-KEM-768"
WHERE = EntryFilter(actor="alice", action="kem.encapsulate")

Lines = list[bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lines, list[VerifierKey]]:
    """Return the lines of the export of one actor's entries, and the anchor keys."""
    folder = tmp_path_factory.mktemp("chosen")
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="setup").keys.generate(KEM)
        kms.anchors.publish(kms.tenants.get("acme"))
        first = kms.anchors.keys()[:1]
        kms.anchors.rotate()
        for number in range(12):
            kms.session("acme", actor=("alice", "bob")[number % 2]).kem.encapsulate()
        kms.audit.export(folder / "chosen", "acme", where=WHERE)
    return (folder / "chosen").read_bytes().splitlines(keepends=True), list(
        map(VerifierKey.parse, first)
    )


def _entries(lines: Lines) -> list[int]:
    return [place for place, line in enumerate(lines) if line.startswith(b'{"action"')]


def _replaced(place: int, old: bytes, new: bytes) -> Callable[[Lines], None]:
    def forge(lines: Lines) -> None:
        at = _entries(lines)[place]
        assert old in lines[at]
        lines[at] = lines[at].replace(old, new)

    return forge


def _dropped(lines: Lines) -> None:
    at = _entries(lines)[2]
    del lines[at - 1 : at + 1]


def _dropped_and_counted(lines: Lines) -> None:
    _dropped(lines)
    end = json.loads(lines[-1])
    end["end"]["selected"] -= 1
    lines[-1] = canonical_json(end) + b"\n"


def _twice(lines: Lines) -> None:
    at = _entries(lines)[2]
    lines[at + 1 : at + 1] = lines[at - 1 : at + 1]


def _swapped(lines: Lines) -> None:
    first, second = _entries(lines)[1:3]
    lines[first - 1 : first + 1], lines[second - 1 : second + 1] = (
        lines[second - 1 : second + 1],
        lines[first - 1 : first + 1],
    )


def _header(**changes: Any) -> Callable[[Lines], None]:
    def forge(lines: Lines) -> None:
        lines[0] = canonical_json({**json.loads(lines[0]), **changes}) + b"\n"

    return forge


def _path(edit: Callable[[list[str]], object]) -> Callable[[Lines], None]:
    def forge(lines: Lines) -> None:
        at = _entries(lines)[1] - 1
        document = json.loads(lines[at])
        edit(document["path"])
        lines[at] = canonical_json(document) + b"\n"

    return forge


#: Name to forgery, and what it is called.
FORGERIES: dict[str, tuple[Callable[[Lines], object], Problem]] = {
    "an entry altered": (_replaced(1, b"success", b"denied"), Problem.BAD_PROOF),
    "an entry of another tenant": (_replaced(1, b'"tenant":"', b'"tenant":"0'), Problem.MALFORMED),
    "an entry at another place": (_replaced(0, b'"seq":2', b'"seq":3'), Problem.BAD_PROOF),
    "an entry gone": (_dropped, Problem.CUT),
    "an entry twice": (_twice, Problem.DUPLICATED),
    "two entries swapped": (_swapped, Problem.REORDERED),
    "a line that is no entry": (_replaced(1, b'"actor"', b' "actor"'), Problem.MALFORMED),
    "a hash of a path gone": (_path(lambda path: path.pop()), Problem.BAD_PROOF),
    "a path of no hashes": (_path(lambda path: path.clear()), Problem.BAD_PROOF),
    "a path that is none": (_path(lambda path: path.append("xyz")), Problem.BAD_PROOF),
    "another filter stated": (_header(where={"actor": "bob"}), Problem.INSERTED),
    "a filter that is none": (_header(where={"colour": "red"}), Problem.BAD_EXPORT),
    "another tenant stated": (_header(tenant=str(uuid.UUID(int=8))), Problem.BAD_ANCHOR),
    "a tenant that is no id": (_header(tenant="acme"), Problem.BAD_EXPORT),
    "another size stated": (_header(size=9), Problem.BAD_ANCHOR),
    "another format stated": (_header(export="x/1"), Problem.BAD_EXPORT),
    "a member more in the header": (_header(approved="by me"), Problem.BAD_EXPORT),
    "a member more beside a path": (
        lambda lines: lines.__setitem__(
            _entries(lines)[0] - 1,
            lines[_entries(lines)[0] - 1].replace(b'{"path"', b'{"at":1,"path"'),
        ),
        Problem.BAD_EXPORT,
    ),
    "a path twice": (
        lambda lines: lines.__setitem__(
            _entries(lines)[0] - 1,
            lines[_entries(lines)[0] - 1].replace(b'{"path"', b'{"path":[],"path"'),
        ),
        Problem.BAD_EXPORT,
    ),
    "the rotation dropped": (lambda lines: lines.pop(1), Problem.UNKNOWN_KEY),
    "the anchor dropped": (lambda lines: lines.pop(2), Problem.BAD_ANCHOR),
    "the end gone": (lambda lines: lines.pop(), Problem.CUT),
    "something after the end": (lambda lines: lines.append(b"{}\n"), Problem.BAD_EXPORT),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_selection_is_named(
    made: tuple[Lines, list[VerifierKey]], tmp_path: Path, name: str
) -> None:
    """Every manipulation of what the file shows is found and called by its name."""
    forge, problem = FORGERIES[name]
    lines, keys = list(made[0]), made[1]
    forge(lines)
    path = tmp_path / "forged"
    path.write_bytes(b"".join(lines))
    report = verify_selection(path, keys)
    assert report.problem is problem, report


def test_what_was_left_out_cannot_be_seen(
    made: tuple[Lines, list[VerifierKey]], tmp_path: Path
) -> None:
    """What the documentation says: a selection does not show that it is complete."""
    lines, keys = list(made[0]), made[1]
    _dropped_and_counted(lines)
    path = tmp_path / "shorter"
    path.write_bytes(b"".join(lines))
    assert verify_selection(path, keys).selected == 5


def test_a_selection_holds_what_was_asked_for(tmp_path: Path) -> None:
    """By actor, action, outcome, key and time; plain or compressed; none is fine, too."""
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="alice")
        for name in ("a", "b"):
            session.keys.generate(KEM, name=name)
            session.kem.encapsulate(name=name)
        with pytest.raises(NotFound):
            session.kem.decapsulate(bytes(1088), 7, name="a")
        now = datetime.now(UTC)
        keys = list(map(VerifierKey.parse, kms.anchors.keys()))
        for number, (where, expected) in enumerate(
            (
                (EntryFilter(actor="alice"), 5),
                (EntryFilter(action="kem.encapsulate"), 2),
                (EntryFilter(name="b", algorithm=KEM, version=1), 2),
                (EntryFilter(outcome="failed"), 1),
                (EntryFilter(since=now - timedelta(hours=1), until=now), 6),
                (EntryFilter(until=now - timedelta(hours=1)), 0),
            )
        ):
            path = tmp_path / f"{number}.jsonl{'.gz' if number % 2 else ''}"
            kms.audit.export(path, "acme", where=where)
            report = verify_exports([path], keys)
            assert (report.ok, report.selected) == (True, expected), report
        with pytest.raises(ValidationError):
            verify_exports([path, path], keys)
        with pytest.raises(ValidationError):
            verify_exports([path], keys, last_anchor="an anchor")
        assert verify_selection(path, keys, revoked=keys).problem is Problem.REVOKED_KEY
