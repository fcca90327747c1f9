# SPDX-License-Identifier: Apache-2.0
"""What a store keeps of a log beside its entries: its state, and its anchors."""

import uuid
from datetime import datetime
from typing import Final

from attrs import field, frozen

from qpher_core.audit.tree import HASH_BYTES, Subtree, root_of, subtrees

__all__ = ["EMPTY_LOG", "LogBase", "LogState", "StoredAnchor"]


@frozen
class LogState:
    """A log at one moment; all of it from one commit.

    Attributes:
        size: number of entries.
        head: hash of the last entry, 32 bytes; zeros for an empty log.
        peaks: hashes of the maximal complete subtrees, largest first, 32 bytes each.
    """

    size: int
    head: bytes = field(repr=bytes.hex)
    peaks: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    @property
    def whole(self) -> bool:
        """Whether the peaks can belong to a tree of this size."""
        return len(self.peaks) == HASH_BYTES * self.size.bit_count()

    @property
    def root(self) -> bytes:
        """The root of the Merkle tree, 32 bytes."""
        peaks = self.peaks
        return root_of([peaks[i : i + HASH_BYTES] for i in range(0, len(peaks), HASH_BYTES)])

    @property
    def kept(self) -> dict[Subtree, bytes]:
        """The complete subtrees before this place whose hashes are known: those of its peaks.

        They are all that proofs about later entries and sizes need of what comes before.
        """
        if not self.whole:
            return {}
        hashes = (self.peaks[i : i + HASH_BYTES] for i in range(0, len(self.peaks), HASH_BYTES))
        return dict(zip(subtrees(0, self.size), hashes, strict=True))


@frozen
class LogBase(LogState):
    """Where a log begins in its store: what came before was moved out (docs/formats.md, Segment).

    The state is that of the log at this place, which an anchor covers.

    Attributes:
        uses: canonical JSON: how each key version was used until then.
        segment: SHA-256 of the file with the entries that were moved out last, 32 bytes.
    """

    uses: bytes = field(default=b'{"uses":[]}', repr=False)
    segment: bytes = field(default=bytes(HASH_BYTES), repr=bytes.hex)


#: Where a log begins of which nothing was moved out.
EMPTY_LOG: Final = LogBase(0, bytes(HASH_BYTES), b"")


@frozen
class StoredAnchor:
    """A signed checkpoint of one log, as it was published.

    Attributes:
        size: number of entries that it covers.
        note: the signed note (docs/formats.md, Anchor).
    """

    tenant_id: uuid.UUID
    size: int
    time: datetime
    note: str = field(repr=False)
