# SPDX-License-Identifier: Apache-2.0
"""Where the entries of an audit log are: in segments of 10,000.

    audit/<tenant>/head            number of entries and hash of the last, in one line
    audit/<tenant>/base.json       where the log begins, if its first entries were moved out
    audit/<tenant>/<first>.jsonl   the entries, one in a line
    audit/<tenant>/<first>.index   for each the end of its line in the segment, and its hash
    audit/<tenant>/<first>.tree    the hashes of the subtrees that each entry completes

Lines of index and tree have one length, so any of them is found without a search. Leaf ``i``
of the tree is preceded by ``2 i - popcount(i)`` hashes: that many subtrees are complete by then.
"""

import uuid
from typing import Final

from attrs import frozen

from qpher_backends.filesystem.heads import LINE_BYTES, parse_line

__all__ = ["TREE_LINE", "Segment", "entry_end", "in_segment", "moved_out"]

TREE_LINE: Final = 65  # bytes, the newline included

_ENTRIES: Final = 10_000


@frozen
class Segment:
    """The files of the segment that holds a place of a log, and where in them it is."""

    log: str
    first: int

    @classmethod
    def holding(cls, tenant_id: uuid.UUID, seq: int) -> "Segment":
        """Return the segment of a place."""
        return cls(f"audit/{tenant_id}", seq - in_segment(seq))

    @property
    def entries(self) -> str:
        """Return the file of the entries."""
        return f"{self.log}/{self.first:012d}.jsonl"

    @property
    def index(self) -> str:
        """Return the file of the ends of the entries."""
        return f"{self.log}/{self.first:012d}.index"

    @property
    def tree(self) -> str:
        """Return the file of the hashes of subtrees."""
        return f"{self.log}/{self.first:012d}.tree"

    def index_offset(self, seq: int) -> int:
        """Return where the line of an entry begins in the index."""
        return (seq - self.first) * LINE_BYTES

    def tree_offset(self, seq: int) -> int:
        """Return where the lines of the subtrees begin that an entry completes."""
        return (_nodes_before(seq) - _nodes_before(self.first)) * TREE_LINE


def in_segment(seq: int) -> int:
    """Return how many entries of its segment are before one."""
    return seq % _ENTRIES


def moved_out(name: str, size: int) -> bool:
    """Return whether a file of a log holds nothing but its first ``size`` entries."""
    return name[:12].isdigit() and int(name[:12]) + _ENTRIES <= size


def entry_end(line: bytes) -> tuple[int, bytes]:
    """Return where an entry ends, and its hash; nowhere if the index has no such line."""
    try:
        return parse_line(line)
    except ValueError:
        return 0, b""


def _nodes_before(leaf: int) -> int:
    return 2 * leaf - leaf.bit_count()
