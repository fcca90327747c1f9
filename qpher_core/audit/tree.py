# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree of RFC 6962 over a log's entries: growing, roots, proofs, their verification.

Leaf ``i`` is the canonical bytes of entry ``i``. A *complete subtree* ``(level, index)`` covers
the ``2**level`` leaves from ``index << level``. Stores keep the hash of every complete subtree,
each beside the entry that completes it, so that nothing is ever hashed twice: an append hashes
two blocks on average, and a proof reads O(log n) stored hashes.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Fetch",
    "Subtree",
    "climb",
    "consistency_path",
    "grow",
    "inclusion_path",
    "last_leaf",
    "leaf_hash",
    "node_hash",
    "peak_of",
    "root_at",
    "root_from_inclusion",
    "root_of",
    "siblings",
    "stored_hash",
    "subtrees",
    "verify_consistency",
]

HASH_BYTES: Final = 32

#: Root of the tree without leaves (RFC 6962 section 2.1): SHA-256 of nothing.
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

#: A complete subtree: (level, index).
Subtree = tuple[int, int]

#: Gives the stored hashes of complete subtrees, in the order asked for.
Fetch = Callable[[Sequence[Subtree]], Sequence[bytes]]

_Range = tuple[int, int]  # leaves [start, end)


def leaf_hash(body: bytes) -> bytes:
    """Return the 32-byte hash of a leaf."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(size: int, peaks: bytes, leaf: bytes) -> tuple[bytes, bytes]:
    """Add one leaf to a tree of ``size`` leaves.

    Args:
        size: number of leaves before.
        peaks: hashes of the maximal complete subtrees, largest first, 32 bytes each; there is
            one for each bit that is set in ``size``.
        leaf: hash of the new leaf.

    Returns:
        (new peaks, hashes of the complete subtrees that end with the new leaf, leaf first).
    """
    if len(peaks) != HASH_BYTES * size.bit_count():
        raise ValueError("the peaks do not belong to a tree of this size")
    completed, top, end = leaf, leaf, len(peaks)
    while size & 1:
        top = node_hash(peaks[end - HASH_BYTES : end], top)
        completed += top
        end -= HASH_BYTES
        size >>= 1
    return peaks[:end] + top, completed


def last_leaf(subtree: Subtree) -> int:
    """Return the leaf that completes a subtree; its hash is kept at ``level`` beside it."""
    level, index = subtree
    return ((index + 1) << level) - 1


def stored_hash(nodes: bytes, subtree: Subtree) -> bytes:
    """Return the hash of a subtree out of those that its last leaf completes, or ``b""``."""
    level, _ = subtree
    return nodes[level * HASH_BYTES : (level + 1) * HASH_BYTES]


def root_of(peaks: Sequence[bytes]) -> bytes:
    """Return the root over the maximal complete subtrees of a tree, largest first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def subtrees(start: int, end: int) -> Iterator[Subtree]:
    """Yield the complete subtrees that tile the leaves ``[start, end)``, from the left."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def root_at(size: int, fetch: Fetch) -> bytes:
    """Return the root of the tree of the first ``size`` leaves."""
    return root_of(fetch(list(subtrees(0, size))))


def inclusion_path(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Return the inclusion proof of leaf ``index`` in the tree of ``size`` leaves.

    RFC 6962 section 2.1.1, ``PATH(index, D[size])``: from the leaf's sibling to the root's child.
    """
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    number, level = peak_of(index, size)
    peaks = list(subtrees(0, size))
    del peaks[number]
    hashes = fetch([*siblings(index, level), *peaks])
    below, left, right = hashes[:level], hashes[level : level + number], hashes[level + number :]
    return [*below, *([root_of(right)] if right else []), *reversed(left)]


def peak_of(index: int, size: int) -> tuple[int, int]:
    """Return which maximal complete subtree of a tree has a leaf: (number from 0, level)."""
    level = (index ^ size).bit_length() - 1
    return (size >> (level + 1)).bit_count(), level


def siblings(index: int, level: int) -> list[Subtree]:
    """Return the subtrees beside the way from a leaf to the subtree of a level that has it."""
    return [(below, (index >> below) ^ 1) for below in range(level)]


def climb(leaf: bytes, index: int, hashes: Sequence[bytes]) -> bytes:
    """Return the hash of the subtree that the siblings of a leaf lead to."""
    node = leaf
    for level, sibling in enumerate(hashes):
        node = node_hash(sibling, node) if index >> level & 1 else node_hash(node, sibling)
    return node


def consistency_path(first: int, second: int, fetch: Fetch) -> list[bytes]:
    """Return the proof that the tree of ``first`` leaves is a prefix of that of ``second``.

    RFC 6962 section 2.1.2, ``PROOF(first, D[second])``; empty for ``first`` 0 or ``second``.
    """
    if not 0 <= first <= second:
        raise ValueError("the first tree must not be larger than the second")
    if first in {0, second}:
        return []
    ranges: list[_Range] = []
    start, end, whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return _hashes(ranges[::-1], fetch)


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to, or None if it has the wrong length.

    RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        return None
    position, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    return root if last == 0 else None


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Return whether the tree of ``first`` leaves is a prefix of the tree of ``second``.

    RFC 9162 section 2.1.4.2; a tree without leaves is a prefix of every tree.
    """
    if first == second:
        return not path and first_root == second_root
    if first == 0:
        return not path and first_root == EMPTY_ROOT
    if not 0 < first < second or not path:
        return False
    hashes = list(path) if first & (first - 1) else [first_root, *path]
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(leaves: int) -> int:
    """Return the largest power of two below a number of leaves."""
    return 1 << ((leaves - 1).bit_length() - 1)


def _hashes(ranges: Sequence[_Range], fetch: Fetch) -> list[bytes]:
    """Return the hash over each range, with one fetch for all of them.

    Every range of a proof starts where a subtree of at least its length can start, so its hash
    folds those of its complete subtrees exactly as a root folds its peaks.
    """
    tiles = [list(subtrees(start, end)) for start, end in ranges]
    fetched = iter(fetch([tile for group in tiles for tile in group]))
    return [root_of([next(fetched) for _ in group]) for group in tiles]
