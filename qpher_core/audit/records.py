# SPDX-License-Identifier: Apache-2.0
"""What a store keeps of a log beside its entries: its state, and its anchors."""

import uuid
from datetime import datetime

from attrs import field, frozen

from qpher_core.audit.tree import HASH_BYTES, root_of

__all__ = ["LogState", "StoredAnchor"]


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
