# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a module on every code path of this CPU: import ``every_path`` into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qpher_native._cpu import PATHS
from qpher_native._native import lib


@pytest.fixture(params=range(lib.qpher_cpu_best() + 1), ids=PATHS.__getitem__, autouse=True)
def every_path(request: pytest.FixtureRequest) -> Iterator[str]:
    """The path in use, restored afterwards."""
    before = lib.qpher_cpu_path()
    lib.qpher_init(request.param)
    yield PATHS[request.param]
    lib.qpher_init(before)
