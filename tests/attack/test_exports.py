# SPDX-License-Identifier: Apache-2.0
"""Every manipulation of an export is found and reported by name, with the first bad entry."""

import gzip
import json
import shutil
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import pytest

import qpher_core
from qpher_core import AuditIntegrityError, Problem, verify_export, verify_exports
from qpher_core.audit.export import parse_end
from qpher_core.audit.note import Note
from qpher_core.audit.trust import follow_statements
from qpher_core.audit.verifier import ExportReport
from qpher_core.audit.vkey import NoteSigner, VerifierKey
from tests.attack.exports import (
    Export,
    edited,
    flipped,
    forged_key,
    made_export,
    rechained,
    resigned,
    statement,
)

ENTRIES = 24

Forgery = Callable[[Export, Export], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a sound export."""
    return made_export(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a sound export of another tenant of another service."""
    return made_export(tmp_path_factory.mktemp("other"), "rival")


def _verify(export: Export, path: Path) -> ExportReport:
    return verify_export(export.write(path / "export.jsonl"), export.keys)


def _swap(items: list, first: int, second: int) -> None:
    items[first], items[second] = items[second], items[first]


def _raw(place: int, edit: Callable[[bytes], bytes]) -> Forgery:
    def forge(e: Export, _: Export) -> None:
        e.entries[place] = edit(e.entries[place])

    return forge


def _rewritten(e: Export, _: Export) -> None:
    e.change(7, actor="mallory")
    rechained(e, 7)


def _squeezed_in(e: Export, _: Export) -> None:
    e.entries.insert(7, e.entries[7])
    e.change(7, actor="mallory")


def _appended(e: Export, _: Export) -> None:
    size = dict(e.header)
    e.entries.append(e.entries[-1])
    rechained(e, ENTRIES)
    e.header = size


def _appended_and_counted(e: Export, _: Export) -> None:
    e.entries.append(e.entries[-1])
    rechained(e, ENTRIES)


def _removed_and_rechained(e: Export, _: Export) -> None:
    del e.entries[7]
    rechained(e, 7)


def _rewritten_without_anchors(e: Export, _: Export) -> None:
    e.change(20, actor="mallory")
    rechained(e, 20)
    e.anchors.pop()


def _old_key_again(e: Export, _: Export) -> None:
    first, second = (forged_key(e.keys[0].name) for _ in range(2))
    for place, signer in enumerate((first, second, first)):
        resigned(e, place, signer)
    e.keys, e.statements = [first.key], [statement(first, second)]


def _signed_by_another_service(e: Export, _: Export) -> None:
    other = forged_key("other.example")
    resigned(e, 1, other)
    e.keys.append(other.key)  # trusted, for its own logs


def _of_another_service(e: Export, _: Export) -> None:
    service = e.keys[0].name
    e.anchors[1] = edited(e.anchors[1], lambda text: text.replace(service, "other.example"))
    _signed_by_another_service(e, _)


def _renamed_anchor(e: Export, o: Export) -> None:
    e.anchors = list(o.anchors)
    e.keys = o.keys
    e.statements = list(o.statements)


FORGERIES: dict[str, tuple[Forgery, Problem, int | None]] = {
    # altered
    "the first entry altered": (lambda e, _: e.change(0, actor="m"), Problem.ALTERED, 0),
    "an actor altered": (lambda e, _: e.change(7, actor="m"), Problem.ALTERED, 7),
    "an action altered": (lambda e, _: e.change(8, action="kem.wrap"), Problem.ALTERED, 8),
    "a time altered": (
        lambda e, _: e.change(9, time="2020-01-01T00:00:00.000000Z"), Problem.ALTERED, 9),
    "an outcome altered": (lambda e, _: e.change(10, outcome="denied"), Problem.ALTERED, 10),
    "a content altered": (lambda e, _: e.change(11, content="0" * 64), Problem.ALTERED, 11),
    "a key altered": (lambda e, _: e.change(12, key=None), Problem.ALTERED, 12),
    "a reason altered": (lambda e, _: e.change(13, reason="because"), Problem.ALTERED, 13),
    "a request altered": (
        lambda e, _: e.change(14, request_id="0" * 8 + "-0000-0000-0000-" + "0" * 12),
        Problem.ALTERED, 14),
    "the last entry altered": (
        lambda e, _: e.change(ENTRIES - 1, actor="m"), Problem.ALTERED, ENTRIES - 1),
    "a link altered": (
        lambda e, _: e.change(7, prev_hash="0" * 64), Problem.BROKEN_LINK, 7),
    "the first link altered": (
        lambda e, _: e.change(0, prev_hash="1" * 64), Problem.BROKEN_LINK, 0),
    "the stated head altered": (
        lambda e, _: e.end.update(head="0" * 64), Problem.ALTERED, ENTRIES - 1),
    # missing
    "the first entry missing": (lambda e, _: e.entries.pop(0), Problem.MISSING, 0),
    "an entry missing": (lambda e, _: e.entries.pop(7), Problem.MISSING, 7),
    "several entries missing": (lambda e, _: e.entries.__delitem__(slice(7, 11)),
                                Problem.MISSING, 7),
    "the last entry missing": (lambda e, _: e.entries.pop(), Problem.CUT, ENTRIES - 1),
    "the tail cut": (lambda e, _: e.entries.__delitem__(slice(20, None)), Problem.CUT, 20),
    "all entries gone": (lambda e, _: e.entries.clear(), Problem.CUT, 0),
    "a larger size stated": (lambda e, _: e.header.update(size=30), Problem.CUT, ENTRIES),
    "a place skipped": (lambda e, _: e.change(7, seq=70), Problem.MISSING, 7),
    # reordered, duplicated, inserted
    "neighbours swapped": (lambda e, _: _swap(e.entries, 7, 8), Problem.REORDERED, 7),
    "distant entries swapped": (lambda e, _: _swap(e.entries, 2, 20), Problem.REORDERED, 2),
    "the log reversed": (lambda e, _: e.entries.reverse(), Problem.REORDERED, 0),
    "an entry twice": (lambda e, _: e.entries.insert(8, e.entries[7]), Problem.DUPLICATED, 8),
    "an early entry at the end": (
        lambda e, _: e.entries.append(e.entries[3]), Problem.DUPLICATED, ENTRIES),
    "an entry squeezed in": (_squeezed_in, Problem.INSERTED, 8),
    "an entry appended": (_appended, Problem.INSERTED, ENTRIES),
    "an entry appended and counted": (_appended_and_counted, Problem.UNANCHORED, ENTRIES),
    "another log's entry": (
        lambda e, o: e.entries.__setitem__(7, o.entries[7]), Problem.FOREIGN, 7),
    # malformed
    "a line that is no JSON": (_raw(7, lambda _: b'{"action"'), Problem.MALFORMED, 7),
    "an empty line": (_raw(7, lambda _: b""), Problem.MALFORMED, 7),
    "white space added": (_raw(7, lambda b: b.replace(b",", b", ", 1)), Problem.MALFORMED, 7),
    "a member added": (
        _raw(7, lambda b: b.replace(b'"time"', b'"tima":1,"time"')), Problem.MALFORMED, 7),
    "a member twice": (
        _raw(7, lambda b: b.replace(b'"actor"', b'"actor":"x","actor"')), Problem.MALFORMED, 7),
    "a digest in capitals": (
        _raw(7, lambda b: b.replace(b'"content":"', b'"content":"A')), Problem.MALFORMED, 7),
    "a needless escape": (
        _raw(7, lambda b: b.replace(b"tester", b"\\u0074ester")), Problem.MALFORMED, 7),
    "bytes that are no UTF-8": (
        _raw(7, lambda b: b.replace(b"tester", b"\xff")), Problem.MALFORMED, 7),
    "a place with a zero before it": (
        _raw(7, lambda b: b.replace(b'"seq":7', b'"seq":07')), Problem.MALFORMED, 7),
    # rewritten with a sound chain
    "the log rewritten": (_rewritten, Problem.REWRITTEN, 5),
    "an entry removed and the rest rewritten": (
        _removed_and_rechained, Problem.INCONSISTENT_ANCHORS, None),
    "the tail rewritten, its anchor dropped": (
        _rewritten_without_anchors, Problem.UNANCHORED, 12),
    # anchors
    "the last anchor dropped": (lambda e, _: e.anchors.pop(), Problem.UNANCHORED, 12),
    "all anchors dropped": (lambda e, _: e.anchors.clear(), Problem.UNANCHORED, 0),
    "anchors swapped": (
        lambda e, _: _swap(e.anchors, 0, 1), Problem.INCONSISTENT_ANCHORS, None),
    "an anchor twice": (
        lambda e, _: e.anchors.insert(1, e.anchors[0]), Problem.INCONSISTENT_ANCHORS, None),
    "a smaller size stated": (
        lambda e, _: e.header.update(size=20), Problem.INCONSISTENT_ANCHORS, None),
    "an anchor's signature flipped": (
        lambda e, _: e.anchors.__setitem__(1, flipped(e.anchors[1])),
        Problem.BAD_SIGNATURE, None),
    "an anchor's size altered": (
        lambda e, _: e.anchors.__setitem__(1, edited(e.anchors[1],
                                                     lambda t: t.replace("\n12\n", "\n13\n"))),
        Problem.BAD_SIGNATURE, None),
    "an anchor's head altered": (
        lambda e, _: e.anchors.__setitem__(
            1, edited(e.anchors[1], lambda t: t.replace("head ", "head A")[:-3] + "=\n")),
        Problem.BAD_SIGNATURE, None),
    "an anchor by a stranger": (
        lambda e, _: resigned(e, 1, forged_key("stranger")), Problem.UNKNOWN_KEY, None),
    "an anchor by a stranger of the same name": (
        lambda e, _: resigned(e, 1, forged_key(e.keys[0].name)), Problem.UNKNOWN_KEY, None),
    "the anchors of another log": (_renamed_anchor, Problem.BAD_ANCHOR, None),
    "an anchor that is no note": (
        lambda e, _: e.anchors.__setitem__(1, "anchor"), Problem.BAD_ANCHOR, None),
    "an anchor without signatures": (
        lambda e, _: e.anchors.__setitem__(1, Note.parse(e.anchors[1]).text + "\n"),
        Problem.BAD_ANCHOR, None),
    "another tenant in the header": (
        lambda e, o: e.header.update(tenant=o.header["tenant"]), Problem.BAD_ANCHOR, None),
    # keys
    "the rotation dropped": (
        lambda e, _: (e.statements.clear(), e.keys.__delitem__(slice(1, None))),
        Problem.UNKNOWN_KEY, None),
    "the rotation altered": (
        lambda e, _: (e.keys.__delitem__(slice(1, None)),
                      e.statements.__setitem__(0, flipped(e.statements[0]))),
        Problem.BAD_SIGNATURE, None),
    "a rotation that is none": (
        lambda e, _: e.statements.__setitem__(0, e.anchors[0]), Problem.BAD_STATEMENT, None),
    "a rotation by a stranger": (
        lambda e, o: (e.keys.__delitem__(slice(1, None)),
                      e.statements.__setitem__(0, o.statements[0])),
        Problem.UNKNOWN_KEY, None),
    "the rotation altered though both keys are trusted": (
        lambda e, _: e.statements.__setitem__(0, flipped(e.statements[0])),
        Problem.BAD_SIGNATURE, None),
    "another time of the rotation": (
        lambda e, _: e.statements.__setitem__(
            0, edited(e.statements[0], lambda t: t.replace("time 2", "time 1"))),
        Problem.BAD_SIGNATURE, None),
    "an old key after its rotation": (_old_key_again, Problem.REVOKED_KEY, None),
    "an anchor signed by another service": (
        _signed_by_another_service, Problem.UNKNOWN_KEY, None),
    "an anchor of another service": (_of_another_service, Problem.BAD_ANCHOR, None),
    "another service's keys": (
        lambda e, o: e.__setattr__("keys", o.keys), Problem.UNKNOWN_KEY, None),
    # the file
    "a header of another format": (
        lambda e, _: e.header.update(export="other"), Problem.BAD_EXPORT, None),
    "a size that is no number": (
        lambda e, _: e.header.update(size="24"), Problem.BAD_EXPORT, None),
    "a tenant that is no id": (
        lambda e, _: e.header.update(tenant="acme"), Problem.BAD_EXPORT, None),
    "a tenant that is no text": (
        lambda e, _: e.header.update(tenant=5), Problem.BAD_EXPORT, None),
    "a member more in the header": (
        lambda e, _: e.header.update(approved="by the auditor"), Problem.BAD_EXPORT, None),
    "a member more in the end": (
        lambda e, _: e.end.update(approved="by the auditor"), Problem.BAD_EXPORT, None),
    "an end of another size": (lambda e, _: e.end.update(size=23), Problem.BAD_EXPORT, None),
    "an end that is none": (lambda e, _: e.end.clear(), Problem.BAD_EXPORT, None),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_named(sound: Export, other: Export, tmp_path: Path, name: str) -> None:
    """The report has the problem's name and the first bad entry."""
    forge, problem, seq = FORGERIES[name]
    export = sound.copy()
    forge(export, other)
    report = _verify(export, tmp_path)
    assert (report.problem, report.bad_seq) == (problem, seq), report.detail
    assert report.detail


@pytest.mark.parametrize("name", FORGERIES)
def test_compressing_hides_nothing(sound: Export, other: Export, tmp_path: Path, name: str) -> None:
    """A compressed export is judged as one that is not."""
    forge, problem, seq = FORGERIES[name]
    export = sound.copy()
    forge(export, other)
    plain = export.write(tmp_path / "export.jsonl")
    packed = tmp_path / "export.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    report = verify_export(packed, export.keys)
    assert (report.problem, report.bad_seq) == (problem, seq)


def test_a_sound_export_passes(sound: Export, tmp_path: Path) -> None:
    """The same export without a forgery has nothing to report."""
    report = _verify(sound.copy(), tmp_path)
    assert report.ok
    assert (report.entries, report.anchored, report.anchors) == (ENTRIES, ENTRIES, 3)


def test_one_old_key_is_enough(sound: Export, tmp_path: Path) -> None:
    """Who has only the first anchor key follows the rotation to the later one."""
    export = sound.copy()
    del export.keys[1:]
    assert _verify(export, tmp_path).ok


def test_every_cut_of_the_file_is_noticed(sound: Export, tmp_path: Path) -> None:
    """An export that ends anywhere before its end is not sound."""
    whole = sound.write(tmp_path / "whole").read_bytes()
    for length in range(1, len(whole) - 1, 499):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:length])
        assert not verify_export(cut, sound.keys).ok, length


def test_nothing_follows_the_end(
    sound: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind the end is not overlooked, however the file is read."""
    whole = sound.write(tmp_path / "whole").read_bytes()
    end = whole.splitlines(keepends=True)[-1]
    for tail in (b"x\n" + end, end, whole, sound.entries[3] + b"\n" + end):
        for name, data in (("plain", whole + tail), ("packed", gzip.compress(whole + tail))):
            path = tmp_path / name
            path.write_bytes(data)
            for size in (200, 1 << 24):
                monkeypatch.setattr("qpher_core.audit.verifier._PIECE_BYTES", size)
                report = verify_export(path, sound.keys, processes=1)
                assert report.problem is Problem.BAD_EXPORT, (tail, name, size)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"export"', b'\xef\xbb\xbf{"export"'),
        (b'"size":24,"t', b'"size":20,"size":24,"t'),
        (b'"size":24,"t', b'"size": 24,"t'),
        (b'"export":', b'"base":null,"export":'),
        (b'{"statement":"', b'{"statement":"x","statement":"'),
        (b'{"anchor":"', b'{"anchor":"\\ud800'),
        (b'\\n"}\n{"anchor"', b'\\n","by":"me"}\n{"anchor"'),
        (b'"size":24}}\n', b'"size":24}}'),
        (b'"size":24}}\n', b'"size":"24"}}\n'),
    ],
)
def test_every_line_has_one_form(sound: Export, tmp_path: Path, old: bytes, new: bytes) -> None:
    """What another reader of JSON could take for something else is in no line of an export."""
    whole = sound.write(tmp_path / "whole").read_bytes()
    (path := tmp_path / "forged").write_bytes(whole.replace(old, new, 1))
    assert old in whole
    assert verify_export(path, sound.keys).problem is Problem.BAD_EXPORT


def test_a_header_alone_is_no_export(sound: Export, tmp_path: Path) -> None:
    """A file that ends before its entries is refused by name."""
    path = tmp_path / "export"
    path.write_bytes(sound.write(tmp_path / "whole").read_bytes().splitlines(keepends=True)[0])
    assert verify_export(path, []).problem is Problem.BAD_EXPORT


def test_a_cut_or_damaged_archive_is_named(sound: Export, tmp_path: Path) -> None:
    """A compressed export that does not unpack whole is refused by name, wherever it breaks."""
    packed = gzip.compress(sound.write(tmp_path / "whole").read_bytes())
    path = tmp_path / "cut.gz"
    for length in (3, 12, 200, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        path.write_bytes(packed[:length])
        assert verify_exports([path], sound.keys).problem is Problem.BAD_EXPORT, length
    path.write_bytes(packed + b"junk")
    assert verify_exports([path], sound.keys).problem is Problem.BAD_EXPORT


def test_a_key_has_one_successor_and_a_revoked_one_names_none() -> None:
    """Who holds an old key cannot bring in a key beside the one that replaced it."""
    first, second, evil = (forged_key("kms") for _ in range(3))
    genuine, forged = statement(first, second), statement(first, evil)
    both = [first.key, second.key]
    assert _follow([first], genuine) == _follow([first], genuine, genuine) == both
    assert _follow([first, second], genuine, revoked=[first]) == both
    for trusted, statements, revoked, problem in (
        ([first], (genuine, forged), [], Problem.BAD_STATEMENT),
        ([first, second], (genuine, forged), [], Problem.BAD_STATEMENT),
        ([first], (statement(first, first),), [], Problem.BAD_STATEMENT),
        ([first], (forged,), [first], Problem.REVOKED_KEY),
        ([first, second], (forged,), [first], Problem.REVOKED_KEY),
    ):
        with pytest.raises(AuditIntegrityError) as caught:
            _follow(trusted, *statements, revoked=revoked)
        assert caught.value.problem is problem


def _follow(
    trusted: Sequence[NoteSigner], *statements: str, revoked: Sequence[NoteSigner] = ()
) -> list[VerifierKey]:
    return follow_statements(
        [signer.key for signer in trusted],
        statements,
        revoked=[signer.key for signer in revoked],
        primitives=None,
    )


def test_keys_may_be_given_in_any_order_and_number() -> None:
    """The statements tell the order; who knows a later key needs none of those before it."""
    signers = [forged_key("kms") for _ in range(3)]
    statements = list(map(statement, signers, signers[1:]))
    keys = [signer.key for signer in signers]
    for number in (1, 2, 3):
        for trusted in permutations(signers, number):
            oldest = min(map(signers.index, trusted))
            assert _follow(trusted, *statements) == keys[oldest:]
    for shuffled in (statements[::-1], [statement(forged_key("kms"), forged_key("kms"))]):
        with pytest.raises(AuditIntegrityError) as caught:
            _follow(signers[:1], *shuffled)
        assert caught.value.problem is Problem.UNKNOWN_KEY


def test_an_export_is_sound_whatever_the_order_of_the_keys(sound: Export, tmp_path: Path) -> None:
    """Its anchors are by two keys, one after the other."""
    export = sound.copy()
    export.keys.reverse()
    assert _verify(export, tmp_path).ok


def test_the_report_names_the_service(sound: Export, tmp_path: Path) -> None:
    """Who trusts the keys of several services sees whose log it is."""
    assert _verify(sound.copy(), tmp_path).service == sound.keys[0].name


def test_a_revoked_key_is_named(sound: Export, tmp_path: Path) -> None:
    """Anchors by a key that was revoked do not count."""
    path = sound.write(tmp_path / "export.jsonl")
    report = verify_export(path, sound.keys, revoked=[sound.keys[1]])
    assert report.problem is Problem.REVOKED_KEY


def test_pieces_are_joined(sound: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into pieces of any size, scanned in two processes or one, the export is sound."""
    path = sound.write(tmp_path / "export.jsonl")
    for size in (100, 333, 500, 1000, 5000):
        monkeypatch.setattr("qpher_core.audit.verifier._PIECE_BYTES", size)
        assert verify_export(path, sound.keys, processes=1).ok
    assert verify_export(path, sound.keys, processes=2).ok


def _forked(folder: Path) -> tuple[Path, str, Path]:
    """Return an old export, a later anchor, and an export of another history; same keys."""
    with qpher_core.open(f"sqlite:///{folder}/a.db", protector=f"file://{folder}/kek") as kms:
        tenant = kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
        kms.audit.export(folder / "old", "acme")
    shutil.copy(folder / "a.db", folder / "b.db")
    notes = []
    for name, actor in (("a", "x"), ("b", "y")):
        url = f"sqlite:///{folder}/{name}.db"
        with qpher_core.open(url, protector=f"file://{folder}/kek") as kms:
            session = kms.session("acme", actor=actor)
            session.kem.encapsulate()
            notes.append(kms.anchors.publish(tenant).note)
            session.kem.encapsulate()
            kms.audit.export(folder / f"new-{name}", "acme")
            keys = kms.anchors.keys()
    (folder / "keys").write_text("\n".join(keys))
    return folder / "old", notes[0], folder / "new-b"


def test_a_kept_anchor_shows_what_an_export_alone_cannot(tmp_path: Path) -> None:
    """A log rolled back, and one with another history, both soundly signed, are found out."""
    old, anchor, forked = _forked(tmp_path)
    keys = qpher_core.audit.vkey.parse_vkeys((tmp_path / "keys").read_text())
    assert verify_export(old, keys).ok
    assert verify_export(forked, keys).ok
    rolled_back = verify_export(old, keys, last_anchor=anchor)
    assert (rolled_back.problem, rolled_back.bad_seq) == (Problem.ROLLED_BACK, 2)
    assert verify_export(forked, keys, last_anchor=anchor).problem is Problem.FORKED
    assert verify_export(tmp_path / "new-a", keys, last_anchor=anchor).ok


def test_a_longer_log_takes_no_more_memory(tmp_path: Path) -> None:
    """Ten times as many entries and anchors: verifying takes about the same memory."""
    peaks = []
    for thousands in (1, 10):
        settings = qpher_core.AnchorSettings(every_seconds=None)
        with qpher_core.open("memory:", anchors=settings) as kms:
            tenant = kms.tenants.create("acme")
            session = kms.session("acme", actor="tester")
            session.keys.generate("ML-KEM-768")
            for _ in range(thousands):
                session.kem.encapsulate_many(1000)
                kms.anchors.publish(tenant)
            kms.audit.export(tmp_path / "e", "acme")
            keys = list(map(qpher_core.VerifierKey.parse, kms.anchors.keys()))
        tracemalloc.start()
        assert verify_export(tmp_path / "e", keys, processes=1).ok
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 100_000, peaks


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 1000, pytest.param(1_000_000, marks=pytest.mark.long)]
)
def test_an_untouched_log_has_nothing_to_report(tmp_path: Path, size: int) -> None:
    """Logs of these sizes verify, stored and exported, plain and compressed."""
    with qpher_core.open("memory:") as kms:
        if size:
            kms.tenants.create("acme")
            session = kms.session("acme", actor="tester")
            if size > 1:
                session.keys.generate("ML-KEM-768")
            for part in range(2, size, 1000):
                session.kem.encapsulate_many(min(1000, size - part))
            kms.audit.export(tmp_path / "e", "acme")
            kms.audit.export(tmp_path / "e.gz", "acme")
            assert kms.audit.verify("acme").ok
        else:
            kms.anchors.keys()
            (tmp_path / "e").write_bytes(
                b'{"export":"qpher-audit-export/1","size":0,"tenant":"00000000-0000-0000-0000-'
                b'000000000000"}\n{"end":{"head":"' + b"0" * 64 + b'","size":0}}\n'
            )
            shutil.copy(tmp_path / "e", tmp_path / "e.gz")
        keys = list(map(qpher_core.VerifierKey.parse, kms.anchors.keys()))
    for name in ("e", "e.gz"):
        report = verify_export(tmp_path / name, keys)
        assert (report.ok, report.entries) == (True, size), report
    assert json.dumps(report.as_dict())


@pytest.mark.parametrize("size", [b"1e999", b"Infinity", b"{}", b"null", b"1.0", b"true"])
def test_an_end_states_a_whole_number(size: bytes) -> None:
    """Whatever else stands for the size of an export makes it a malformed one."""
    with pytest.raises(qpher_core.AuditIntegrityError, match="end of the export is malformed"):
        parse_end(b'{"end":{"head":"","size":%s}}' % size)
