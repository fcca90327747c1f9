# SPDX-License-Identifier: Apache-2.0
"""Prints the known answers of the power-on self-test, for comparison with checks/selftest.c."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qpher_native import _poweron

print("SHA3-256", _poweron.SHA3_OF_EMPTY)
for name, answer in {**_poweron.KEM_ANSWERS, **_poweron.DSA_ANSWERS}.items():
    print(name, answer)
