# SPDX-License-Identifier: Apache-2.0
"""The file of an export appears whole, or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qpher_core.audit.export import write_export
from qpher_core.errors import StateConflict


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_an_export_that_fails_leaves_the_older_one(tmp_path: Path, name: str) -> None:
    """What was written until then has no name, and the file before is as it was."""
    target = tmp_path / name
    target.write_bytes(b"older")

    def lines() -> Iterator[bytes]:
        yield b"first\n" * 100_000
        raise StateConflict("entries were moved out meanwhile")

    with pytest.raises(StateConflict):
        write_export(lines(), target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]
