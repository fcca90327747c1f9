# SPDX-License-Identifier: Apache-2.0
"""Lists every division instruction of the compiled core and fails on one in a new place.

A division takes a time that depends on its operands, and memcheck does not report one on a
secret. The core divides only public numbers; where it does is written down here, so that a
compiler or a change that brings a division elsewhere is noticed.

``divisions.py <objdump> <object>...``
"""

from __future__ import annotations

import re
import subprocess
import sys

# Functions with divisions, by what they divide; each pattern matches whole names.
PUBLIC = {
    r"keccak_lanes_\w+|layout|permute|add_lanes": "counts of lanes",
    r"mlkem_queue_matrix": "indices of the matrix, by k",
    r"mldsa_expand_\w+": "indices of the matrix and of masks, by l",
    r"mldsa_sign|deal": "numbers of jobs",
    r"\w*sign_message|checked_signing|qpher_mldsa_\w+|qpher_mlkem_\w+_many\w*": "lengths",
    # clang counts the rounds of a loop from its step, a constant of the layer.
    r"(?:mlkem_)?(?:inv_)?i?ntt": "strides of the layers",
    r"whole_pages|page_bytes|qpher_map|qpher_unmap": "sizes of mappings",
}
ALLOWED = re.compile("|".join(f"(?:{pattern})" for pattern in PUBLIC))
FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:")
# x86 div, idiv; aarch64 udiv, sdiv; calls of helpers on processors without them.
DIVISION = re.compile(r"\t(?:i?div[bwlq]?|[us]div)\s|\b__(?:aeabi_)?u?(?:div|mod)\w*")


def divisions(objdump: str, path: str) -> list[str]:
    """The functions of an object file that contain a division, as often as they do."""
    command = [objdump, "-dr", path]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found, function = [], "?"
    for line in listing.splitlines():
        start = FUNCTION.match(line)
        if start:
            function = re.sub(r"\.(?:part|isra|constprop|cold|lto_priv)\b.*", "", start[1])
        elif DIVISION.search(line):
            found.append(function)
    return found


def main() -> int:
    """Report each object; the number of divisions in places that are not on the list."""
    unknown = 0
    total = 0
    for path in sys.argv[2:]:
        for function in divisions(sys.argv[1], path):
            total += 1
            if not ALLOWED.fullmatch(function):
                print(f"{path}: a division in {function}")
                unknown += 1
    print(
        f"{len(sys.argv) - 2} objects, {total} divisions, all of public numbers"
        if not unknown
        else f"{unknown} divisions in new places"
    )
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
