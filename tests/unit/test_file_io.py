# SPDX-License-Identifier: Apache-2.0
"""Reading and writing files and pipes: nothing is cut short without an error."""

import io
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from qpher_core import file_io
from qpher_core.file_archive import new_folder
from qpher_core.file_io import open_target, read_up_to, rewrite, write_all
from qpher_core.signed_files import file_digest

MORE_THAN_A_PIPE_HOLDS = bytes(1 << 21)


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_pipe_that_does_not_block_is_not_taken_for_its_end(buffering: int) -> None:
    """What is still to come is missed by nobody: reading and hashing refuse such a pipe."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b"the first part")
    with os.fdopen(writing, "wb"), os.fdopen(reading, "rb", buffering=buffering) as source:
        with pytest.raises(BlockingIOError):
            read_up_to(source, 100)  # type: ignore[arg-type]
        with pytest.raises(BlockingIOError):
            file_digest(source)  # type: ignore[arg-type]


def test_what_a_pipe_does_not_take_is_not_dropped() -> None:
    """Writing to a full raw pipe that does not block is an error."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (
        os.fdopen(reading, "rb"),
        os.fdopen(writing, "wb", buffering=0) as target,
        pytest.raises(BlockingIOError),
    ):
        write_all(target, MORE_THAN_A_PIPE_HOLDS)  # type: ignore[arg-type]


def test_an_object_that_says_nothing_has_written_all() -> None:
    """File objects of others may return None from write."""

    class Silent(io.BytesIO):
        def write(self, data: bytes, /) -> None:  # type: ignore[override]
            super().write(data)

    target = Silent()
    write_all(target, b"all of it")
    assert target.getvalue() == b"all of it"


def test_what_is_written_into_a_file_meanwhile_stays(tmp_path: Path) -> None:
    """Rewriting a file replaces no content that it has not read."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def change(reading: BinaryIO, writing: BinaryIO) -> bool:
        writing.write(b"new" + reading.read())
        path.write_bytes(b"of somebody else")
        return True

    assert not rewrite(path, change)
    assert path.read_bytes() == b"of somebody else"
    assert rewrite(path, lambda reading, writing: bool(writing.write(reading.read() + b"!")))
    assert path.read_bytes() == b"of somebody else!"


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "." * 3 + "\udcff" * 252])
def test_a_name_may_be_as_long_as_the_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, nameless: bool
) -> None:
    """What is written beside a file or folder has a shorter name, whatever the final one is."""
    if not nameless:
        monkeypatch.setattr(file_io, "_NAMELESS", 0)
    with open_target(tmp_path / name) as target:
        target.write(b"content")
        assert all(len(os.fsencode(partial.name)) < 100 for partial in tmp_path.iterdir())
    assert (tmp_path / name).read_bytes() == b"content"
    (tmp_path / name).unlink()
    with new_folder(tmp_path / name) as folder:
        assert folder.name.endswith(".partial")
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_name_that_is_too_long_is_an_error_before_any_work(tmp_path: Path) -> None:
    """Nothing is written for a target that can never appear."""
    with pytest.raises(OSError, match="too long"), open_target(tmp_path / ("a" * 256)):
        pytest.fail("there is work")
    assert not list(tmp_path.iterdir())
