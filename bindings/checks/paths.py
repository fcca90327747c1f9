# SPDX-License-Identifier: Apache-2.0
"""Prints the code paths that this CPU has, for the checks that go through all of them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qpher_native._cpu import PATHS
from qpher_native._native import lib

print(*PATHS[: lib.qpher_cpu_best() + 1])
