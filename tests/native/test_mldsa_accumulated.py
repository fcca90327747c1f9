# SPDX-License-Identifier: Apache-2.0
"""ML-DSA: accumulated digests that stand for thousands of keys and signatures."""

from __future__ import annotations

import pytest

from qpher_native import selftest
from tests.native.mldsa_paths import every_path  # noqa: F401 (a fixture)

LONG = {
    "ML-DSA-44": "e7fd21f6a59bcba60d65adc44404bb29a7c00e5d8d3ec06a732c00a306a7d143",
    "ML-DSA-65": "5ff5e196f0b830c3b10a9eb5358e7c98a3a20136cb677f3ae3b90175c3ace329",
    "ML-DSA-87": "80a8cf39317f7d0be0e24972c51ac152bd2a3e09bc0c32ce29dd82c4e7385e60",
}


@pytest.mark.parametrize("name", LONG)
def test_100(name: str) -> None:
    """A hundred keys and signatures of the empty message."""
    assert selftest.dsa_accumulated(name, 100) == selftest.DSA_ACCUMULATED[name]


@pytest.mark.parametrize("name", LONG)
def test_10000(name: str) -> None:
    """Ten thousand of them."""
    assert selftest.dsa_accumulated(name, 10_000) == LONG[name]
