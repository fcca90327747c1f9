# SPDX-License-Identifier: Apache-2.0
"""Prints the code paths that this CPU has, for the checks that go through all of them.

``--numbers`` prints them as enum qpher_cpu_path has them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qpher_native._cpu import PATHS
from qpher_native._native import lib

count = lib.qpher_cpu_best() + 1
print(*(range(count) if "--numbers" in sys.argv else PATHS[:count]))
