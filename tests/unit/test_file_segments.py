# SPDX-License-Identifier: Apache-2.0
"""Files of a log whose entries were all moved out go away; a crash before that costs nothing."""

from pathlib import Path

import pytest

from qpher_backends.filesystem import audit, commit, segments
from qpher_core.discovery import open_store
from qpher_core.testing.records import append
from qpher_core.testing.test_retention import base_at, fill, move_out


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file hold ten entries."""
    monkeypatch.setattr(segments, "_ENTRIES", 10)
    monkeypatch.setattr(audit, "_PAGE", 5)


def _firsts(folder: Path) -> set[int]:
    return {int(path.stem) for path in folder.glob("store/audit/*/0*.*")}


def test_files_of_moved_entries_are_removed(tmp_path: Path) -> None:
    """Whole files go, the one that holds later entries stays, and the log grows on."""
    store = open_store(f"file://{tmp_path}/store", parameter="url")
    tenant = fill(store, 34, 23, 30, 34)
    assert _firsts(tmp_path) == {0, 10, 20, 30}
    move_out(store, tenant.id, base_at(store, tenant.id, 23))
    assert _firsts(tmp_path) == {20, 30}
    move_out(store, tenant.id, base_at(store, tenant.id, 30), after=23)
    assert _firsts(tmp_path) == {30}
    assert [entry.seq for entry in store.audit.read(tenant.id)] == [30, 31, 32, 33]
    assert store.commit(lambda writer: append(writer, tenant.id)).seq == 34
    store.close()


def test_files_that_a_crash_left_go_with_the_next_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies before it removes the files leaves a log that begins at its base."""

    def die(_path: str) -> None:
        raise KeyboardInterrupt

    url = f"file://{tmp_path}/store"
    store = open_store(url, parameter="url")
    tenant = fill(store, 34, 23, 30)
    base = base_at(store, tenant.id, 23)
    with monkeypatch.context() as patch:
        patch.setattr(commit.os, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            move_out(store, tenant.id, base)
    store.close()
    again = open_store(url, parameter="url")
    assert _firsts(tmp_path) == {0, 10, 20, 30}
    assert again.audit.base(tenant.id) == base
    assert next(again.audit.read(tenant.id)).seq == 23
    move_out(again, tenant.id, base_at(again, tenant.id, 30), after=23)
    assert _firsts(tmp_path) == {30}
    again.close()
