# SPDX-License-Identifier: Apache-2.0
"""Copies the C core and plants one leak in the copy: what the constant-time checks must catch.

``leak.py <kind> <folder>``; each kind is one that compilers or people have really produced.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"

# kind: (file, text of the core, the same with a leak)
LEAKS = {
    # Choosing the rejection secret with a branch (implicit rejection becomes visible).
    "branch": (
        "ct.h",
        "    for (size_t i = 0; i < n; i++)\n"
        "        out[i] = (uint8_t)(out[i] ^ (m & (out[i] ^ a[i])));\n",
        "    for (size_t i = 0; i < n && m; i++)\n        out[i] = a[i];\n",
    ),
    # A table looked up with a secret index: here in absorbing a seed.
    "index": (
        "keccak.c",
        "static void add_byte(uint64_t s[25], uint32_t pos, uint8_t x)\n{\n",
        "static void add_byte(uint64_t s[25], uint32_t pos, uint8_t x)\n{\n"
        "    static const volatile uint8_t table[256] = {0};\n"
        "    x ^= table[(s[0] ^ x) & 0xff];\n",
    ),
}


def plant(kind: str, folder: Path) -> None:
    """Copy the sources and replace the one place."""
    name, sound, leaky = LEAKS[kind]
    shutil.copytree(CSRC, folder, dirs_exist_ok=True)
    text = (folder / name).read_text(encoding="utf-8")
    if text.count(sound) != 1:
        raise SystemExit(f"leak.py: {name} has changed; bring LEAKS[{kind!r}] up to date")
    (folder / name).write_text(text.replace(sound, leaky), encoding="utf-8")


if __name__ == "__main__":
    plant(sys.argv[1], Path(sys.argv[2]))
