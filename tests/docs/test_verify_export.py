# SPDX-License-Identifier: Apache-2.0
"""The script of the documentation, which knows nothing of this library."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

import qpher_core
from qpher_core.models import canonical_json
from tests.attack.exports import Export, made_export, rechained

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "verify_export.py"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a sound export."""
    return made_export(tmp_path_factory.mktemp("script"))


def _run(export: Export, folder: Path) -> tuple[int, str]:
    return _run_on(export.write(folder / "export.jsonl"))


def _run_on(path: Path) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_the_script_is_short() -> None:
    """Its code has about forty lines."""
    lines = SCRIPT.read_text(encoding="utf-8").partition('"""\n\nimport')[2].splitlines()
    assert len([line for line in lines if line.strip()]) <= 47


def test_a_sound_export_is_sound(sound: Export, tmp_path: Path) -> None:
    """The script agrees with the library on an untouched export."""
    assert _run(sound.copy(), tmp_path) == (0, "sound\n")


def test_a_compressed_export_is_read_as_it_is(sound: Export, tmp_path: Path) -> None:
    """What ``audit export acme.jsonl.gz`` wrote need not be unpacked, and a forgery is found."""
    forged = sound.copy()
    forged.change(7, actor="mallory")
    for export, status in ((sound, 0), (forged, 1)):
        plain = export.write(tmp_path / "export.jsonl").read_bytes()
        packed = tmp_path / "export.jsonl.gz"
        packed.write_bytes(gzip.compress(plain))
        assert _run_on(packed)[0] == status


def test_forgeries_are_found(sound: Export, tmp_path: Path) -> None:
    """Altered, missing, swapped and cut entries, and a rewritten log, are not sound."""
    forged = [sound.copy() for _ in range(5)]
    forged[0].change(7, actor="mallory")
    del forged[1].entries[7]
    forged[2].entries[3:5] = forged[2].entries[4:2:-1]
    del forged[3].entries[20:]
    forged[4].change(7, actor="mallory")
    rechained(forged[4], 7)
    forged.extend(sound.copy() for _ in range(2))
    forged[5].anchors.pop()  # nobody signed the entries at the end
    forged[6].entries.insert(9, canonical_json({"end": forged[6].end}))
    for export in forged:
        status, text = _run(export, tmp_path)
        assert status == 1
        assert text.startswith("NOT SOUND")


def test_a_compressed_segment_and_what_follows_it(tmp_path: Path) -> None:
    """Files as the operator hands them out; where one begins, an anchor must end."""
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        segment = kms.audit.move_out(tmp_path, "acme").path
        kms.tenants.set_plan("acme", None)
        rest = tmp_path / "rest.jsonl"
        kms.audit.export(rest, "acme")
    export = Export.read(rest, [])
    del export.anchors[0]
    for path, status in ((segment, 0), (rest, 0), (export.write(tmp_path / "forged"), 1)):
        assert _run_on(path)[0] == status, path
