# SPDX-License-Identifier: Apache-2.0
"""Manipulations of a log in several files: each is found and reported by name."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import qpher_core
from qpher_core import AuditIntegrityError, NotFound, Problem, VerifierKey, verify_exports
from qpher_core.audit.export import ExportFile, write_export
from qpher_core.audit.segments import prove_from_export
from qpher_core.audit.verifier import ExportReport
from tests.attack.exports import Export, flipped

Files = tuple[Export, Export, Export]  # two segments and the rest


def _made(folder: Path, tenant: str) -> Files:
    """Return a log of 25 entries that was moved out at 9 and at 16."""
    with qpher_core.open(f"sqlite:///{folder}/{tenant}.db") as kms:
        owner = kms.tenants.create(tenant)
        session = kms.session(tenant, actor="tester")
        session.keys.generate("ML-KEM-768")
        paths = []
        for times in (7, 6):
            for _ in range(times):
                session.kem.encapsulate()
            size = kms.anchors.publish(owner).size
            paths.append(kms.audit.move_out(folder, tenant, until=size).path)
        for _ in range(8):
            session.kem.encapsulate()
        rest = folder / f"{tenant}.jsonl"
        kms.audit.export(rest, tenant)
        keys = list(map(VerifierKey.parse, kms.anchors.keys()))
    for path in paths:
        write_export(iter(ExportFile(path).open().readlines()), path.with_suffix(""))
    one, two, three = (Export.read(p, keys) for p in (*(p.with_suffix("") for p in paths), rest))
    return one, two, three


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return the three files of a log."""
    return _made(tmp_path_factory.mktemp("log"), "acme")


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return those of another log of the same shape, by another service."""
    return _made(tmp_path_factory.mktemp("rival"), "rival")


def _base(export: Export, **changes: object) -> None:
    export.header["base"] = {**export.header["base"], **changes}


def _other_root(export: Export) -> None:
    peaks = bytearray.fromhex(export.header["base"]["peaks"])
    peaks[0] ^= 1
    _base(export, peaks=peaks.hex())


def _without_base(export: Export) -> None:
    del export.header["base"]


def _begun_later(export: Export) -> None:
    """Leave out an entry more, as if the base were there."""
    first = export.entries.pop(0)
    _base(export, size=export.header["base"]["size"] + 1, head=_hash(first))


def _hash(body: bytes) -> str:
    """Return the hash of an entry in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


#: Name to what is done to the second file, what it is called and the first bad entry.
ALONE: dict[str, tuple[Callable[[Export], object], Problem, int | None]] = {
    "an entry altered": (lambda e: e.change(2, actor="m"), Problem.ALTERED, 11),
    "the first entry altered": (lambda e: e.change(0, actor="m"), Problem.ALTERED, 9),
    "the first entry gone": (lambda e: e.entries.pop(0), Problem.MISSING, 9),
    "an entry in the middle gone": (lambda e: e.entries.pop(3), Problem.MISSING, 12),
    "the last entry gone": (lambda e: e.entries.pop(), Problem.CUT, 15),
    "two entries swapped": (lambda e: e.entries.insert(1, e.entries.pop(2)), Problem.REORDERED, 10),
    "an entry twice": (lambda e: e.entries.insert(1, e.entries[0]), Problem.DUPLICATED, 10),
    "the base's head altered": (lambda e: _base(e, head="0" * 64), Problem.BROKEN_LINK, 9),
    "the base's peaks altered": (_other_root, Problem.BAD_BASE, 0),
    "the base's size altered": (lambda e: _base(e, size=10), Problem.BAD_BASE, None),
    "the base of an impossible size": (lambda e: _base(e, size=8), Problem.BAD_EXPORT, None),
    "the base gone": (_without_base, Problem.MISSING, 0),
    "the base where no anchor is": (_begun_later, Problem.BAD_BASE, None),
    "the anchor of the base gone": (lambda e: e.anchors.pop(0), Problem.BAD_BASE, None),
    "every anchor gone": (lambda e: e.anchors.clear(), Problem.BAD_BASE, None),
}


def _verify(files: Files, folder: Path) -> ExportReport:
    paths = [export.write(folder / f"{n}.jsonl") for n, export in enumerate(files)]
    return verify_exports(paths, files[0].keys)


@pytest.mark.parametrize("name", ALONE)
def test_a_forged_segment_is_found(name: str, log: Files, tmp_path: Path) -> None:
    """Alone or with the others, a segment that was tampered with is named for what it is."""
    forge, problem, seq = ALONE[name]
    export = log[1].copy()
    forge(export)
    path = export.write(tmp_path / "segment.jsonl")
    report = verify_exports([path], export.keys)
    assert report.problem is problem, report
    if seq is not None:
        assert report.bad_seq == seq
    assert not _verify((log[0], export, log[2]), tmp_path).ok


def test_an_untouched_log_is_sound(log: Files, tmp_path: Path) -> None:
    """All files together, and each alone, have nothing to report."""
    report = _verify(log, tmp_path)
    assert (report.ok, report.first, report.entries) == (True, 0, int(log[2].header["size"]))
    for number in range(3):
        assert verify_exports([tmp_path / f"{number}.jsonl"], log[0].keys).ok


def test_files_that_do_not_belong_together_are_found(
    log: Files, rival: Files, tmp_path: Path
) -> None:
    """A file left out, given twice, or of another log, is named."""
    keys = [*log[0].keys, *rival[0].keys]
    paths = [e.write(tmp_path / f"{n}") for n, e in enumerate((*log, *rival))]
    gap = verify_exports([paths[2], paths[0]], keys)
    assert (gap.problem, gap.bad_seq) == (Problem.MISSING, 9)
    twice = verify_exports([paths[0], paths[1], paths[1], paths[2]], keys)
    assert (twice.problem, twice.bad_seq) == (Problem.DUPLICATED, 9)
    foreign = verify_exports([paths[0], paths[4], paths[2]], keys)
    assert (foreign.problem, foreign.bad_seq) == (Problem.FOREIGN, 9)


def test_a_kept_anchor_is_continued_by_the_files_after_it(log: Files, tmp_path: Path) -> None:
    """Who verified a segment and kept its anchor needs only what came later, in any number."""
    paths = [export.write(tmp_path / f"{n}") for n, export in enumerate(log)]
    keys = log[0].keys
    for first in range(3):
        for kept in log[max(first - 1, 0) :]:
            report = verify_exports(paths[first:], keys, last_anchor=kept.anchors[-1])
            assert report.ok, (first, report)
    early = verify_exports(paths[2:], keys, last_anchor=log[0].anchors[-1])
    assert early.problem is Problem.MISSING


def test_a_kept_anchor_that_is_none_is_not_taken_for_the_exports(
    log: Files, rival: Files, tmp_path: Path
) -> None:
    """What is wrong with the auditor's own file is said to be."""
    path = log[0].write(tmp_path / "export")
    for kept, problem in (
        ("nonsense", Problem.BAD_ANCHOR),
        (flipped(log[0].anchors[0]), Problem.BAD_SIGNATURE),
        (rival[0].anchors[0], Problem.UNKNOWN_KEY),
    ):
        report = verify_exports([path], log[0].keys, last_anchor=kept)
        assert report.problem is problem
        assert report.detail.startswith("the anchor kept from before: ")


def test_two_histories_do_not_join(tmp_path: Path) -> None:
    """A segment of one history and the rest of another, both soundly signed, are forked."""
    kek = f"file://{tmp_path}/kek"
    with qpher_core.open(f"sqlite:///{tmp_path}/a.db", protector=kek) as kms:
        kms.tenants.create("acme")
        kms.anchors.keys()
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    found = []
    for name in ("a", "b"):
        with qpher_core.open(f"sqlite:///{tmp_path}/{name}.db", protector=kek) as kms:
            kms.session("acme", actor=name).keys.generate("ML-KEM-768")
            found.append(kms.audit.move_out(tmp_path / name, "acme").path)
            kms.audit.export(tmp_path / f"rest-{name}", "acme")
            keys = list(map(VerifierKey.parse, kms.anchors.keys()))
    assert verify_exports([found[0], tmp_path / "rest-a"], keys).ok
    forked = verify_exports([found[0], tmp_path / "rest-b"], keys)
    assert (forked.problem, forked.bad_seq) == (Problem.FORKED, 2)


def test_no_proof_comes_from_a_forged_segment(log: Files, tmp_path: Path) -> None:
    """Proofs out of an altered or cut segment are refused, and of entries elsewhere not found."""
    altered, cut = log[1].copy(), log[1].copy()
    altered.change(2, actor="mallory")
    del cut.entries[-1]
    with pytest.raises(AuditIntegrityError) as raised:
        prove_from_export(altered.write(tmp_path / "altered"), 10)
    assert raised.value.problem is Problem.REWRITTEN
    with pytest.raises(AuditIntegrityError) as raised:
        prove_from_export(cut.write(tmp_path / "cut"), 10)
    assert raised.value.problem in {Problem.BAD_EXPORT, Problem.REWRITTEN}
    for seq in (8, 16):
        with pytest.raises(NotFound):
            prove_from_export(log[1].write(tmp_path / "sound"), seq)


def test_a_store_cannot_drop_its_beginning_unseen(tmp_path: Path) -> None:
    """Entries that are removed from the database without an entry that tells of it are missed."""
    path = tmp_path / "q.db"
    with qpher_core.open(f"sqlite:///{path}") as kms:
        owner = kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
        state = kms._store.audit.state(owner.id)
        kms.anchors.publish(owner)
    database = sqlite3.connect(path)
    with database:
        database.execute(
            "INSERT INTO audit_bases VALUES (?, ?, ?, ?, ?, ?)",
            (str(owner.id), state.size, state.head, state.peaks, b'{"uses":[]}', bytes(32)),
        )
        database.execute("DELETE FROM audit_entries WHERE tenant_id = ?", (str(owner.id),))
    database.close()
    with qpher_core.open(f"sqlite:///{path}") as kms:
        kms.session("acme", actor="x").kem.encapsulate()
        report = kms.audit.verify("acme")
        assert (report.bad_seq, report.problem) == (
            2,
            "no entry tells that what came before was moved out",
        )
        assert json.dumps(report.problem)
