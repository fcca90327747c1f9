# SPDX-License-Identifier: Apache-2.0
"""Sources of migrations: what they give of folders and tables that are not as expected."""

import os
from pathlib import Path

import pytest

from qpher_core.migration.folders import FolderSource


def test_a_folder_that_cannot_be_read_stops_a_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are not left out silently; a path that is too long cannot be read even by root."""
    monkeypatch.chdir(tmp_path)
    for _ in range(25):
        Path("d" * 200).mkdir()
        os.chdir("d" * 200)
    with pytest.raises(OSError, match="too long"):
        FolderSource(tmp_path)
