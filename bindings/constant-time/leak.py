# SPDX-License-Identifier: Apache-2.0
"""Copies the C core and plants one leak in the copy: what the constant-time checks must catch.

``leak.py <kind> <folder>`` plants it; ``leak.py <kind>`` prints the programs that must catch it.
Each kind is one that compilers or people have really produced.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"

# kind: (programs that must notice, file, text of the core, the same with a leak)
LEAKS = {
    # Choosing the rejection secret with a branch (implicit rejection becomes visible).
    "branch": (
        "ct_kem",
        "ct.h",
        "        out[i] = (uint8_t)(out[i] ^ (m & (out[i] ^ a[i])));\n",
        "        if (m)\n            out[i] = a[i];\n",
    ),
    # Stopping at the first coefficient out of range (which one it is tells about the secret).
    "early": (
        "ct_dsa",
        "mldsa_elementwise.h",
        "        any |= bound - 1 - ((a->c[i] ^ sign) - sign);\n",
        (
            "        any |= bound - 1 - ((a->c[i] ^ sign) - sign);\n"
            "        if (any < 0)\n            return 1;\n"
        ),
    ),
    # A table looked up with a secret index: the first byte of what Keccak absorbs last, in lanes,
    "index": (
        "ct_dsa",
        "keccak_lanes.c",
        "        last[j][rest] = suffix;\n",
        (
            "        static const volatile uint8_t table[256] = {0};\n"
            "        last[j][rest] = suffix ^ table[last[j][0]];\n"
        ),
    ),
    # and of a message or a seed in a call that shares a permutation with others.
    "call": (
        "ct_kem",
        "keccak_lanes.c",
        "    *s = (uint64_t)c->suffix << 8 * (c->len % 8);\n",
        (
            "    static const volatile uint8_t table[256] = {0};\n"
            "    *s = (uint64_t)(c->suffix ^ table[c->in[0]]) << 8 * (c->len % 8);\n"
        ),
    ),
}


def plant(kind: str, folder: Path) -> None:
    """Copy the sources and replace the one place."""
    _, name, sound, leaky = LEAKS[kind]
    shutil.copytree(CSRC, folder, dirs_exist_ok=True)
    text = (folder / name).read_text(encoding="utf-8")
    if text.count(sound) != 1:
        raise SystemExit(f"leak.py: {name} has changed; bring LEAKS[{kind!r}] up to date")
    (folder / name).write_text(text.replace(sound, leaky), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(LEAKS[sys.argv[1]][0])
    else:
        plant(sys.argv[1], Path(sys.argv[2]))
