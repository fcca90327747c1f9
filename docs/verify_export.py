# SPDX-License-Identifier: Apache-2.0
"""Verify chain and Merkle tree of an export with the standard library alone.

    python verify_export.py EXPORT     (or EXPORT.gz)

Checking the ML-DSA signatures of the anchors takes a library; all else is here.
docs/formats.md defines the bytes.
"""

import base64
import gzip
import hashlib
import json
import sys


def sha256(data):
    """Return SHA-256 of some bytes."""
    return hashlib.sha256(data).digest()


def root_of(forest):
    """Return the root over complete subtrees, largest first."""
    root = forest[-1]
    for left in reversed(forest[:-1]):
        root = sha256(b"\1" + left + root)
    return root


def verify(lines):
    """Return what is wrong, or None."""
    anchors, forest, size, head = {}, [], 0, bytes(32)
    for number, line in enumerate(lines):
        fields, body = json.loads(line), line[:-1]
        if number == 0 and (base := fields.get("base")):  # entries before it were moved out
            size, head, peaks = base["size"], bytes.fromhex(base["head"]), base["peaks"]
            forest = [bytes.fromhex(peaks[i : i + 64]) for i in range(0, len(peaks), 64)]
        elif "anchor" in fields:
            _, covered, root, extension = fields["anchor"].split("\n")[:4]
            anchors[int(covered)] = tuple(map(base64.b64decode, (root, extension[5:])))
        elif "end" in fields:
            stated = {"head": head.hex(), "size": size}
            sound = (fields["end"], max(anchors, default=0)) == (stated, size)
            sound &= not base or base["size"] in anchors  # where it begins
            return None if sound and not next(lines, None) else f"it does not end at {size}"
        elif "prev_hash" in fields:
            if (fields["seq"], fields["prev_hash"]) != (size, head.hex()):
                return f"entry {size} is missing, or does not follow the one before it"
            node, bits = sha256(b"\0" + body), size
            while bits & 1:  # two complete subtrees of one size become one
                node, bits = sha256(b"\1" + forest.pop() + node), bits >> 1
            forest.append(node)
            head, size = sha256(body), size + 1
        if size in anchors and anchors[size] != (root_of(forest), head):
            return f"the entries before {size} are not those that were anchored"
    return "the export has no end"


if __name__ == "__main__":
    problem = verify((gzip.open if sys.argv[1].endswith(".gz") else open)(sys.argv[1], "rb"))
    print(f"NOT SOUND: {problem}" if problem else "sound")
    sys.exit(problem is not None)
