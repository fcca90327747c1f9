# SPDX-License-Identifier: Apache-2.0
"""Says clearly when the C core is not built, because then tests/native is not run at all."""

import os

import pytest


def test_the_c_core_is_built() -> None:
    """The C core can be imported, unless it was left out on purpose or cannot be built here."""
    if os.environ.get("QPHER_NO_NATIVE"):
        pytest.skip("QPHER_NO_NATIVE is set: tests/native is not run")
    pytest.importorskip("qpher_native", reason="the C core is not built: tests/native is not run")
