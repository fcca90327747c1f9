# SPDX-License-Identifier: Apache-2.0
"""Which code path the C core runs on this CPU."""

from __future__ import annotations

import os

from ._native import lib

# In the order of enum qpher_cpu_path.
PATHS = ("portable", "avx2", "avx512")
VARIABLE = "QPHER_NATIVE_CPU"


def cpu_path() -> str:
    """The path in use: ``"portable"``, ``"avx2"`` or ``"avx512"``."""
    return PATHS[lib.qpher_cpu_path()]


def select() -> None:
    """Choose the best path of this CPU, or the one that ``QPHER_NATIVE_CPU`` names."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted and wanted not in PATHS:
        raise ImportError(f"{VARIABLE} must be one of {', '.join(PATHS)}, not {wanted!r}")
    if lib.qpher_init(PATHS.index(wanted) if wanted else -1) < 0:
        best = PATHS[lib.qpher_cpu_best()]
        raise ImportError(f"{VARIABLE}={wanted}, but the best path of this CPU is {best}")
