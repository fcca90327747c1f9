# SPDX-License-Identifier: Apache-2.0
"""Lets the tests of the native core run from a checkout: ``from tests.vectors import load_json``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
# Another build of the extension, e.g. with sanitizers, or an installed one ("").
_PACKAGES = os.environ.get("QPHER_NATIVE_PATH", str(_ROOT / "bindings"))

sys.path.insert(0, str(_ROOT))
if _PACKAGES:
    sys.path.insert(0, _PACKAGES)


def pytest_configure(config: pytest.Config) -> None:
    """Marks of these tests."""
    config.addinivalue_line("markers", "long: takes minutes; run by the long target")


try:
    import qpher_native  # noqa: F401
except ImportError:
    collect_ignore_glob = ["test_*.py"]  # tests/unit/test_native_is_built.py says so
