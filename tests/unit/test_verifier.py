# SPDX-License-Identifier: Apache-2.0
"""Work that is spread over processes."""

import time
from pathlib import Path

from qpher_core.audit.verifier import _mapping


def _touch(path: Path) -> Path:
    time.sleep(0.02)
    path.touch()
    return path


def test_nothing_more_is_begun_once_no_one_waits(tmp_path: Path) -> None:
    """After the first results, what has not begun is left undone."""
    paths = [tmp_path / str(number) for number in range(100)]
    with _mapping(2) as each:
        results = each(_touch, paths)
        assert next(results) == paths[0]
    assert len(list(tmp_path.iterdir())) < len(paths)


def test_one_process_is_this_one(tmp_path: Path) -> None:
    """Work for one process is done here, as its results are asked for."""
    paths = [tmp_path / str(number) for number in range(3)]
    with _mapping(1) as each:
        assert next(each(_touch, paths)) == paths[0]
        assert list(tmp_path.iterdir()) == paths[:1]
