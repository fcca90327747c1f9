# SPDX-License-Identifier: Apache-2.0
"""Every manipulation is found as well where entries are read in blocks and pieces of any size."""

from pathlib import Path

import pytest

from qpher_core import Problem, verify_export
from tests.attack.exports import Export, made_export
from tests.attack.test_exports import FORGERIES


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a sound export."""
    return made_export(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a sound export of another tenant of another service."""
    return made_export(tmp_path_factory.mktemp("other"), "rival")


@pytest.fixture(params=[(1, 1000), (700, 5000), (3000, 1 << 20)])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read blocks and pieces of other sizes."""
    block, piece = request.param
    monkeypatch.setattr("qpher_core.audit.export._BLOCK_BYTES", block)
    monkeypatch.setattr("qpher_core.audit.verifier._PIECE_BYTES", piece)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("name", FORGERIES)
def test_a_manipulation_is_found(name: str, sound: Export, other: Export, tmp_path: Path) -> None:
    """The finding does not depend on how entries are read."""
    forge, problem, bad_seq = FORGERIES[name]
    forged = sound.copy()
    forge(forged, other)
    report = verify_export(forged.write(tmp_path / "export.jsonl"), forged.keys, processes=1)
    assert (report.problem, report.bad_seq) == (problem, bad_seq)


@pytest.mark.usefixtures("sizes")
def test_a_sound_export_is_sound(sound: Export, tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong."""
    assert verify_export(sound.write(tmp_path / "export.jsonl"), sound.keys, processes=1).ok


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("place", [1, 7, 12, 23])
def test_a_link_in_capitals_is_malformed(place: int, sound: Export, tmp_path: Path) -> None:
    """The hash that an entry follows has one spelling, also where a piece begins with it."""
    forged, link = sound.copy(), b'"prev_hash":"'
    before, _, after = forged.entries[place].partition(link)
    forged.entries[place] = before + link + after[:64].upper() + after[64:]
    report = verify_export(forged.write(tmp_path / "export.jsonl"), forged.keys, processes=1)
    assert (report.problem, report.bad_seq) == (Problem.MALFORMED, place)
