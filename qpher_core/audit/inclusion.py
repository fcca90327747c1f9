# SPDX-License-Identifier: Apache-2.0
"""Inclusion proofs of the entries of a store, from its anchors."""

import uuid
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from attrs import field, frozen

from qpher_core._cache import BoundedCache
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.known_subtrees import KnownSubtrees
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.proof import LogProof
from qpher_core.audit.records import StoredAnchor
from qpher_core.audit.tree import Fetch, climb, leaf_hash, node_hash, peak_of, siblings, subtrees
from qpher_core.models import AuditEntry

__all__ = ["Inclusion"]

#: Anchors of about 16 KiB. Proofs of entries near each other are under the same one.
_ANCHORS: Final = 64


@frozen
class _Tree:
    """The tree of an anchor.

    Attributes:
        note: the anchor, parsed.
        size: number of entries.
        peaks: hashes of the maximal complete subtrees, largest first; they lead to the root.
        folded: for each of them, the root over it and those after it.
    """

    note: Note = field(repr=False)
    size: int
    peaks: Sequence[bytes] = field(repr=False)
    folded: Sequence[bytes] = field(repr=False)

    def beside(self, number: int) -> list[bytes]:
        """Return the end of every path that goes through a peak: from there to the root."""
        return [*self.folded[number + 1 : number + 2], *reversed(self.peaks[:number])]


class Inclusion:
    """Proves that anchors cover entries. Thread-safe.

    Each path is checked before it is released: it leads to the root that the anchor states.
    """

    def __init__(self) -> None:
        self._known = KnownSubtrees()
        self._trees: BoundedCache[str, _Tree] = BoundedCache(_ANCHORS)

    def proof(self, entry: AuditEntry, anchor: StoredAnchor, read: Fetch) -> LogProof:
        """Return the proof that an anchor covers an entry.

        Args:
            entry: the entry.
            anchor: of at least so many entries.
            read: gives the stored hashes of the entry's log.

        Raises:
            AuditIntegrityError: the stored tree does not lead from the entry to the anchor.
        """
        tree = self._trees.get(anchor.note, lambda note: self._tree(entry.tenant_id, note, read))
        if tree.size != anchor.size:
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "an anchor states another size")
        number, level = peak_of(entry.seq, tree.size)
        leaf, peak = leaf_hash(entry.body), tree.peaks[number]
        below = self._known.hashes(
            entry.tenant_id,
            siblings(entry.seq, level),
            read,
            lambda hashes: climb(leaf, entry.seq, hashes) == peak,
        )
        if below is None:
            raise _rewritten("the entry")
        return LogProof(entry.seq, (*below, *tree.beside(number)), tree.note)

    def _tree(self, tenant_id: uuid.UUID, text: str, read: Fetch) -> _Tree:
        note = Note.parse(text)
        checkpoint = Checkpoint.parse(note.text)
        peaks = self._known.hashes(
            tenant_id,
            list(subtrees(0, checkpoint.size)),
            read,
            lambda hashes: _folded(hashes)[:1] == [checkpoint.root],
        )
        if peaks is None:
            raise _rewritten("the stored tree")
        return _Tree(note, checkpoint.size, peaks, _folded(peaks))


def _folded(peaks: Sequence[bytes]) -> list[bytes]:
    """Return the root over the peaks from each of them on."""
    return list(accumulate(reversed(peaks), lambda right, peak: node_hash(peak, right)))[::-1]


def _rewritten(what: str) -> AuditIntegrityError:
    return AuditIntegrityError(Problem.REWRITTEN, f"{what} is not the one anchored")
