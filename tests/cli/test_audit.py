# SPDX-License-Identifier: Apache-2.0
"""``qpher-core audit`` as a process that has only files."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

import qpher_core
from qpher_core.cli.main import main
from tests.attack.exports import Export, made_export

COMMAND = Path(sys.executable).parent / "qpher-core"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an export, its first anchor key, its last anchor, and a proof."""
    made = tmp_path_factory.mktemp("cli")
    export = made_export(made)
    (made / "first.vkey").write_text(f"{export.keys[0]}\n")
    (made / "last.anchor").write_text(export.anchors[-1])
    forged = export.copy()
    forged.change(7, actor="mallory")
    forged.write(made / "forged.jsonl")
    with qpher_core.open(f"sqlite:///{made}/q.db") as kms:
        session = kms.session("acme", actor="tester")
        session.keys.generate("ML-DSA-65")
        signed = session.signatures.sign(b"message")
        (made / "proof").write_text(session.audit.proof(signed.receipt))
        (made / "entry").write_bytes(session.audit.entry(signed.receipt).body)
        (made / "signature").write_bytes(signed.signature)
        (made / "all.vkey").write_text("\n".join(kms.anchors.keys()))
    return made


def _run(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [COMMAND, "audit", *arguments], capture_output=True, text=True, cwd=folder, check=False
    )
    return done.returncode, done.stdout + done.stderr


def _call(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command in this process, which takes a twentieth of the time."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(main, ["audit", *arguments])
    return done.exit_code, done.output


def test_a_sound_export_exits_with_0(folder: Path) -> None:
    """With the first key and the last anchor, the export is sound."""
    arguments = ("acme.jsonl", "--key", "first.vkey", "--last-anchor", "last.anchor")
    assert _run(folder, "verify", *arguments)[0] == 0


def test_a_forged_export_exits_with_1(folder: Path) -> None:
    """The report names problem and entry, as text and as JSON."""
    status, text = _run(folder, "verify", "forged.jsonl", "--key", "first.vkey")
    assert (status, text[:27]) == (1, "NOT SOUND: altered at entry")
    status, text = _run(folder, "verify", "forged.jsonl", "--key", "first.vkey", "--json")
    report = json.loads(text)
    assert (status, report["problem"], report["bad_seq"]) == (1, "altered", 7)


def test_what_cannot_be_checked_exits_with_2(folder: Path) -> None:
    """A key file that holds no key is not a verdict on the export."""
    assert _run(folder, "verify", "acme.jsonl", "--key", "last.anchor")[0] == 2
    assert _run(folder, "verify", "gone", "--key", "first.vkey")[0] == 2


def test_a_file_of_the_callers_is_not_a_verdict(folder: Path, tmp_path: Path) -> None:
    """One that is no text, or has no key, is named with status 2."""
    bytes_, empty = tmp_path / "bytes", tmp_path / "empty"
    bytes_.write_bytes(b"\xff\xfe")
    empty.write_text("# no key yet\n")
    verify = ("verify", "acme.jsonl")
    prove = ("verify-proof", "proof", "--entry", "entry", "--entry-only")
    known = ("--key", "first.vkey")
    for file, words in (
        (bytes_, (*verify, "--key")),
        (empty, (*verify, "--key")),
        (empty, (*prove, "--key")),
        (bytes_, (*verify, *known, "--revoked")),
        (bytes_, (*verify, *known, "--last-anchor")),
    ):
        status, text = _call(folder, *words, str(file))
        assert (status, str(file) in text) == (2, True), (words, text)
    status, text = _call(folder, "verify-proof", str(bytes_), *prove[2:], *known)
    assert (status, str(bytes_) in text) == (2, True)
    assert _call(folder, *verify, *known, "--revoked", str(empty))[0] == 0


def test_a_proof_is_verified(folder: Path, tmp_path: Path) -> None:
    """A proof holds for its own content and for no other; without one, if that is asked for."""
    arguments = ("verify-proof", "proof", "--entry", "entry", "--key", "all.vkey")
    assert _call(folder, *arguments, "--content", "signature")[0] == 0
    (tmp_path / "empty").touch()
    for other in ("entry", str(tmp_path / "empty")):
        status, text = _call(folder, *arguments, "--content", other, "--json")
        assert (status, json.loads(text)["problem"]) == (1, "other-content")
    status, text = _call(folder, *arguments)
    assert (status, "none was given" in text) == (1, True)
    status, text = _call(folder, *arguments, "--entry-only")
    assert (status, text[:12], "whatever it is about" in text) == (0, "sound: entry", True)
    assert _call(folder, *arguments, "--entry-only", "--content", "signature")[0] == 2


def test_a_detached_signature_is_the_content_of_its_entry(tmp_path: Path) -> None:
    """What ``sign`` wrote is given to ``verify-proof`` as it is; its receipt says which entry."""
    store = f"sqlite:///{tmp_path}/q.db"
    (tmp_path / "report").write_text("a report")
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme")
        acme = kms.session("acme", actor="x")
        acme.keys.generate("ML-DSA-65")
        signed = acme.signatures.sign_file(tmp_path / "report")
        (tmp_path / "report.sig").write_text(signed.to_text())
        (tmp_path / "key").write_text(f"{kms.anchors.keys()[0]}\n")
        kms.audit.export(tmp_path / "export", "acme")
    proof = ("proof", "export", "--seq", str(signed.receipt.seq), "--out", "p", "--entry", "e")
    assert _run(tmp_path, *proof) == (0, "")
    proved = ("verify-proof", "p", "--entry", "e", "--key", "key", "--content")
    assert _run(tmp_path, *proved, "report.sig") == (0, f"sound: entry {signed.receipt.seq}\n")
    assert _run(tmp_path, *proved, "report")[0] == 1


def test_a_log_is_exported(folder: Path, tmp_path: Path) -> None:
    """What ``export`` and ``keys`` give, ``verify`` accepts."""
    url = f"sqlite:///{folder}/q.db"
    target = str(tmp_path / "e.gz")
    assert _run(folder, "export", "--store", url, target, "--tenant", "acme")[0] == 0
    status, keys = _run(folder, "keys", "--store", url)
    (tmp_path / "keys").write_text(keys)
    assert status == 0
    assert _run(folder, "verify", target, "--key", str(tmp_path / "keys"))[0] == 0


def test_a_log_in_several_files(tmp_path: Path) -> None:
    """move-out, verify-store, verify of all files and proof, as processes; with --json."""
    store = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
        (tmp_path / "key").write_text(f"{kms.anchors.keys()[0]}\n")
        (tmp_path / "kept").write_text(kms.anchors.publish(kms.tenants.get("acme")).note)
    on_store = ("--store", store, "--tenant", "acme")
    status, out = _run(tmp_path, "move-out", "segments", *on_store, "--json")
    moved = json.loads(out)
    assert (status, moved["first"], moved["end"]) == (0, 0, 2)
    assert _run(tmp_path, "move-out", "segments", *on_store, "--until", "2020-01-01")[0] == 3
    assert _run(tmp_path, "export", "rest.jsonl.gz", *on_store)[0] == 0
    assert _run(tmp_path, "verify-store", *on_store, "--last-anchor", "kept")[0] == 0
    files = ("rest.jsonl.gz", moved["path"])
    status, out = _run(
        tmp_path, "verify", *files, "--key", "key", "--last-anchor", "kept", "--json"
    )
    report = json.loads(out)
    assert (status, report["first"], report["entries"]) == (0, 0, 3)
    status, out = _run(tmp_path, "verify", "rest.jsonl.gz", "--key", "key")
    assert (status, "from entry 2 on" in out) == (0, True)
    proof = ("proof", moved["path"], "--seq", "0", "--out", "p", "--entry", "e")
    assert _run(tmp_path, *proof) == (0, "")
    assert _run(tmp_path, "verify-proof", "p", "--entry", "e", "--key", "key")[0] == 1  # content
    assert (
        _run(tmp_path, "proof", moved["path"], "--seq", "2", "--out", "p", "--entry", "e")[0] == 3
    )


def test_a_damaged_store_exits_with_1(tmp_path: Path) -> None:
    """verify-store names the first bad entry of a store that was altered."""
    store = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(store) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="x")
        session.keys.generate("ML-KEM-768")
    database = sqlite3.connect(tmp_path / "q.db")
    with database:
        database.execute("DROP TRIGGER audit_entries_fixed")
        database.execute(
            "UPDATE audit_entries SET body = CAST(replace(body, 'x', 'y') AS BLOB) WHERE seq = 1"
        )
    database.close()
    status, out = _run(tmp_path, "verify-store", "--store", store, "--tenant", "acme", "--json")
    assert (status, json.loads(out)["bad_seq"]) == (1, 1)


def test_an_auditor_keeps_the_newest_anchor(folder: Path, tmp_path: Path) -> None:
    """--save-anchor writes what --last-anchor takes, and nothing where something is wrong."""
    export, key, kept = folder / "acme.jsonl", folder / "first.vkey", tmp_path / "kept"
    verify = ("verify", str(export), "--key", str(key))
    assert _run(folder, *verify, "--save-anchor", str(kept))[0] == 0
    assert kept.read_text() == (folder / "last.anchor").read_text()
    assert _run(folder, *verify, "--last-anchor", str(kept))[0] == 0
    kept.unlink()
    forged = ("verify", "forged.jsonl", "--key", str(key))
    assert _run(folder, *forged, "--save-anchor", str(kept))[0] == 1
    assert not kept.exists()


def test_a_kept_anchor_is_continued_before_it_is_replaced(folder: Path, tmp_path: Path) -> None:
    """--save-anchor onto an anchor never replaces it by an older state or by another log's."""
    verify = ("verify", "acme.jsonl", "--key", "first.vkey", "--key", "all.vkey")
    kept, export = tmp_path / "kept", Export.read(folder / "acme.jsonl", [])
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        others = kms.anchors.publish().note
        for note, expected in (
            (export.anchors[0], 0),
            (kms.anchors.publish(kms.tenants.get("acme")).note, 1),  # the export is older
            (others, 1),
            ("nonsense", 1),
        ):
            kept.write_text(note)
            assert _call(folder, *verify, "--save-anchor", str(kept))[0] == expected
            assert kept.read_text() == (note if expected else export.anchors[-1])


def test_what_gives_no_anchor_says_so(folder: Path, tmp_path: Path) -> None:
    """Chosen entries continue none, and an empty log has none: an auditor does not rely on it."""
    chosen, empty, kept = tmp_path / "chosen", tmp_path / "empty", tmp_path / "kept"
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        kms.audit.export(chosen, "acme", where=qpher_core.EntryFilter(actor="tester"))
    header = {"export": "qpher-audit-export/1", "size": 0, "tenant": str(uuid.UUID(int=7))}
    lines = (header, {"end": {"head": "0" * 64, "size": 0}})
    empty.write_text("".join(json.dumps(line) + "\n" for line in lines).replace(" ", ""))
    save = ("--key", "all.vkey", "--save-anchor", str(kept))
    status, text = _call(folder, "verify", str(chosen), *save)
    assert (status, "chosen entries" in text) == (2, True)
    status, text = _call(folder, "verify", str(empty), *save)
    assert (status, "no anchor was saved" in text) == (0, True)
    assert not kept.exists()


def test_a_kept_anchor_is_replaced_whole(folder: Path, tmp_path: Path) -> None:
    """The old one is never written into: whoever reads it, or a crash, finds one of the two."""
    kept, old = tmp_path / "kept", tmp_path / "old"
    older = Export.read(folder / "acme.jsonl", []).anchors[0]
    kept.write_text(older)
    old.hardlink_to(kept)
    words = ("verify", str(folder / "acme.jsonl"), "--key", str(folder / "first.vkey"))
    assert _run(folder, *words, "--save-anchor", str(kept))[0] == 0
    assert old.read_text() == older
    assert kept.read_text() == (folder / "last.anchor").read_text()
    assert sorted(tmp_path.iterdir()) == [kept, old]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_export_and_a_proof_are_replaced_whole(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    """No file that is there is written into: whoever reads it, or a crash, finds one of the two."""
    export, out, entry = (tmp_path / f"{name}{suffix}" for name in ("export", "proof", "entry"))
    for path in (export, out, entry):
        path.write_text("older")
        path.with_name(f"{path.name}.old").hardlink_to(path)
    store = ("--store", f"sqlite:///{folder}/q.db")
    assert _run(folder, "export", str(export), "--tenant", "acme", *store)[0] == 0
    seq = json.loads((folder / "entry").read_bytes())["seq"]
    words = ("--seq", str(seq), "--out", str(out), "--entry", str(entry))
    assert _run(folder, "proof", str(export), *words) == (0, "")
    proved = ("--entry", str(entry), "--content", "signature", "--key", "all.vkey")
    assert _run(folder, "verify-proof", str(out), *proved) == (0, f"sound: entry {seq}\n")
    assert [path.read_text() for path in tmp_path.glob("*.old")] == ["older"] * 3
    assert len(list(tmp_path.iterdir())) == 6


def test_an_operator_anchors_and_rotates(tmp_path: Path) -> None:
    """Anchor prints the signed state of a log, rotate-key the key that signs the next."""
    store = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(store) as kms:
        tenant = kms.tenants.create("acme")
        old = kms.anchors.key()
    status, note = _run(tmp_path, "anchor", "--store", store, "--tenant", "acme")
    assert status == 0
    status, new = _run(tmp_path, "rotate-key", "--store", store)
    with qpher_core.open(store) as kms:
        assert (status, new.strip()) == (0, kms.anchors.key())
        assert new.strip() != old
        kms.anchors.check(note, tenant)


def test_anchors_that_stopped_are_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A published anchor from before the segments is replaced once the whole log continues it."""
    store, published = f"sqlite:///{tmp_path}/q.db", tmp_path / "published"
    settings = qpher_core.AnchorSettings(every_seconds=0.01, publishers=[f"file://{published}"])
    on_store = ("--store", store, "--tenant", "acme")
    examine = ["doctor", *on_store, "--published", str(published), "--json"]
    with qpher_core.open(store, anchors=settings) as kms:
        acme = kms.tenants.create("acme")
        first, file = kms.anchors.publish(acme).note, published / f"{acme.id}.checkpoint"
        (tmp_path / "key").write_text("\n".join(kms.anchors.keys()))
        kms.tenants.set_plan(acme.id, None)
        segment = kms.audit.move_out(tmp_path / "segments", "acme").path
        kms.tenants.set_plan(acme.id, None)
        file.write_text(first)  # as from a backup of the folder
        with pytest.raises(qpher_core.NotFound, match="cannot be compared"):
            kms.anchors.publish(acme)
        deadline = time.monotonic() + 20
        while not any(found.levelname == "CRITICAL" for found in caplog.records):
            assert time.monotonic() < deadline, "the background said nothing"
            time.sleep(0.01)
        assert "cannot be compared" in CliRunner().invoke(main, examine).output
        verify = ("verify", "rest", str(segment), "--key", "key", "--save-anchor", str(file))
        assert _call(tmp_path, "export", "rest", *on_store)[0] == 0
        assert _call(tmp_path, *verify[:2], *verify[3:])[0] == 1  # without the segment
        assert file.read_text() == first
        assert _call(tmp_path, *verify)[0] == 0
        newest = kms.anchors.publish(acme)
        assert (newest.size, file.read_text()) == (4, newest.note)
        assert "cannot be compared" not in CliRunner().invoke(main, examine).output
