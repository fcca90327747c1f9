# SPDX-License-Identifier: Apache-2.0
"""Headers of encrypted files: their form, and changing them whatever happens meanwhile."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qpher_core import file_header
from qpher_core.file_header import FileHeader, read_header, replace_header

BODY = os.urandom(100_000)
OLD = FileHeader.new([os.urandom(1147)])
NEW = OLD.with_recipients([os.urandom(1627), os.urandom(1179)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with the old header."""
    made = tmp_path / "file"
    made.write_bytes(OLD.encode() + BODY)
    return made


def test_headers_are_what_the_format_says() -> None:
    """Magic, state, room and two copies; each with its number, its padding and its SHA-256."""
    data = OLD.encode()
    assert data[:10] == b"QPHF\x02\x00" + (4096).to_bytes(4)
    assert data[10 : 10 + 4096] == data[10 + 4096 :]
    assert data[10:13] == b"\x01" + (1147).to_bytes(2)
    assert read_header(data) == OLD
    assert read_header(NEW.encode()) == NEW
    assert len(NEW.encode()) == len(data)


def test_a_header_grows_with_its_recipients() -> None:
    """Each recipient has room to move to any other algorithm; more of them make it longer."""
    many = FileHeader.new([bytes(1147)] * 255)
    assert FileHeader.new([bytes(1640)] * 255).room == many.room
    assert many.with_recipients([bytes(1640)] * 255).room == many.room
    assert OLD.with_recipients([bytes(1640)] * 3).room > OLD.room
    assert read_header(many.encode()) == many


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"QPHF",
        b"QPHF\x03",
        b"QPHF\x02\x00\xff\xff\xff\xff" + bytes(5000),
        b"QPHF\x02\x00" + bytes(4),
        b"QPHF\x02\xff" + bytes(4),
        b"QPHF\x02\x01" + OLD.encode()[6:],
        b"QPHF\x01",
        b"QPHF\x01\x02\x00\x01x",
        OLD.encode()[:-1],
        OLD.with_recipients([]).encode(),
    ],
)
def test_malformed_headers_have_no_recipients(data: bytes) -> None:
    """Whatever is no header names nobody, so that it is refused like any other failure."""
    assert read_header(data).recipients == ()


def test_a_header_changes_in_place(path: Path) -> None:
    """The file stays the same file with the same body; a second change works as the first."""
    before = path.stat().st_ino
    for old, new in ((OLD, NEW), (NEW, OLD), (OLD, NEW)):
        assert replace_header(path, old, new) is True
        assert path.read_bytes() == new.encode() + BODY
    assert path.stat().st_ino == before


def test_what_does_not_fit_is_copied(path: Path) -> None:
    """A longer header, or one of format 1, makes a new file under the name, with its mode."""
    path.chmod(0o640)
    longer = OLD.with_recipients([bytes(1600)] * 5)
    assert replace_header(path, OLD, longer) is False
    assert path.read_bytes() == longer.encode() + BODY
    assert path.stat().st_mode & 0o777 == 0o640
    legacy = read_header(b"QPHF\x01\x01\x00\x05stuff")
    path.write_bytes(legacy.encode() + BODY)
    assert replace_header(path, legacy, legacy.with_recipients([b"other"])) is False
    assert path.read_bytes() == b"QPHF\x01\x01\x00\x05other" + BODY
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_another_file_is_left_alone(path: Path) -> None:
    """Nothing is written where the header is not the expected one, or the file is gone."""
    for new in (OLD, NEW.with_recipients([bytes(1600)] * 5)):
        assert replace_header(path, NEW, new) is None
        assert path.read_bytes() == OLD.encode() + BODY
    path.unlink()
    assert replace_header(path, OLD, NEW) is None
    assert not path.exists()


def _crashes(data: bytes, old: FileHeader, new: FileHeader) -> Iterator[bytes]:
    """Yield the file after a crash in each step, with any of several parts of it written."""
    for piece, place in file_header._steps(old, new, data[5:6]):
        for cut in sorted({0, 1, 3, len(piece) // 3, len(piece) - 33, len(piece)} - {-32}):
            done, rest = piece[: max(cut, 0)], piece[max(cut, 0) :]
            torn = bytes(byte ^ 0xA5 for byte in rest)  # sectors that came to nothing good
            yield data[:place] + done + data[place + len(done) :]
            if len(piece) > 1 and rest != data[place + len(done) : place + len(piece)]:
                yield data[:place] + done + torn + data[place + len(piece) :]
        data = data[:place] + piece + data[place + len(piece) :]
    assert data == new.encode() + BODY


def test_a_crash_leaves_one_of_both_headers(path: Path) -> None:
    """Cut or torn anywhere, the file has the old header or the new one, and changes again."""
    seen = set()
    third = OLD.with_recipients([b"third"])
    for left in _crashes(OLD.encode() + BODY, OLD, NEW):
        found = read_header(left)
        assert found in {OLD, NEW}
        seen.add(found)
        for again in _crashes(left, found, third):
            assert read_header(again) in {found, third}
            assert again.endswith(BODY)
    assert seen == {OLD, NEW}
    path.write_bytes(OLD.encode() + BODY)
    assert replace_header(path, OLD, third) is True


def test_readers_never_see_a_change_under_way(path: Path) -> None:
    """Whoever reads while the header changes again and again finds a whole one each time."""
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            assert replace_header(path, OLD, NEW)
            assert replace_header(path, NEW, OLD)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(200):
            with path.open("rb") as file:
                assert FileHeader.read(file) in {OLD, NEW}
                assert file.read(100) == BODY[:100]
    finally:
        stop.set()
        changing.join()


def test_reading_stops_at_the_end_of_the_header() -> None:
    """What follows the header is left in the source."""
    source = io.BytesIO(OLD.encode() + BODY)
    assert FileHeader.read(source) == OLD
    assert source.read() == BODY
