# SPDX-License-Identifier: Apache-2.0
"""Reading a run of entries once: chain, canonical form and Merkle tree, in constant memory.

A run may begin anywhere in the log, so an export can be cut into pieces that are scanned side
by side and joined afterwards.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from attrs import define, field, frozen

from qpher_core.audit.grammar import entries_of, is_utf8
from qpher_core.audit.tree import node_hash, root_of

__all__ = ["Forest", "Joint", "Run", "join", "scan"]

_NO_ENTRIES: Final[tuple[tuple[bytes, ...], ...]] = ((), (), ())  # bodies, links, places

# As in leaf_hash() and node_hash(), of which a call for each entry would take a tenth longer.
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


class Forest:
    """Adjacent complete subtrees, merged as far as they go: ``(level, index, hash)``."""

    __slots__ = ("trees",)

    def __init__(self, trees: Iterable[tuple[int, int, bytes]] = ()) -> None:
        self.trees: list[tuple[int, int, bytes]] = []
        for tree in trees:
            self.push(*tree)

    def push(self, level: int, index: int, digest: bytes) -> None:
        """Add the subtree that follows on the right."""
        trees = self.trees
        while index & 1 and trees and trees[-1][0] == level:
            digest = node_hash(trees.pop()[2], digest)
            level, index = level + 1, index >> 1
        trees.append((level, index, digest))

    def extend(self, index: int, leaves: Sequence[bytes]) -> None:
        """Add leaves that follow on the right, ``index`` first: a level of the tree at a time."""
        level, later = 0, []
        while leaves:
            if index & 1:  # its sibling is on the left
                self.push(level, index, leaves[0])
                index, leaves = index + 1, leaves[1:]
            if len(leaves) & 1:  # its sibling is yet to come
                later.append((level, index + len(leaves) - 1, leaves[-1]))
            pairs = zip(leaves[::2], leaves[1::2], strict=False)
            leaves = [sha256(_NODE + left + right).digest() for left, right in pairs]
            level, index = level + 1, index >> 1
        for tree in reversed(later):
            self.push(*tree)

    @property
    def root(self) -> bytes:
        """The root, if the forest begins at leaf 0; 32 bytes."""
        return root_of([digest for _, _, digest in self.trees])


@frozen
class Joint:
    """The state after ``size`` entries, as far as the run knows it: its own subtrees."""

    size: int
    head: bytes
    trees: tuple[tuple[int, int, bytes], ...]


@define
class Run:
    """What scanning a run of entries found.

    Attributes:
        first: place of its first entry; None for an empty run.
        prev_hash: what its first entry says that it follows, as it stands there; see join().
        end: place after its last entry.
        head: hash of its last entry.
        trees: its complete subtrees.
        joints: states at the sizes that were asked for.
        sound: whether every entry was canonical, of this log, and followed the one before it.
    """

    first: int | None = None
    prev_hash: bytes = b""
    end: int = 0
    head: bytes = b""
    trees: tuple[tuple[int, int, bytes], ...] = ()
    joints: list[Joint] = field(factory=list)
    sound: bool = True


def scan(blocks: Iterable[bytes], tenant: str, sizes: Sequence[int]) -> Run:
    """Scan entries, one in a line.

    Args:
        blocks: the entries, many whole lines at once.
        tenant: id of the log's tenant, which every entry names.
        sizes: sizes, ascending, at which the state is wanted.
    """
    run, forest, find = Run(), Forest(), entries_of(tenant).findall
    for block in blocks:
        bodies, links, places = tuple(zip(*find(block), strict=True)) or _NO_ENTRIES
        hashes = [sha256(body).digest() for body in bodies]
        run.sound = _whole(block, bodies) and _chained(run, links, places, hashes)
        if not run.sound:
            break
        _grow(run, forest, [sha256(_LEAF + body).digest() for body in bodies], hashes, sizes)
    run.trees = tuple(forest.trees)
    return run


def _whole(block: bytes, bodies: Sequence[bytes]) -> bool:
    """Return whether a block is these entries, one in a line, and nothing else.

    What was found does not overlap, so nothing lies between if the lengths add up.
    """
    return sum(map(len, bodies)) + len(bodies) == len(block) and is_utf8(block)


def _chained(
    run: Run, links: Sequence[bytes], places: Sequence[bytes], hashes: Sequence[bytes]
) -> bool:
    """Return whether entries follow one another and those of a run; the first ones begin it."""
    follows = run.head.hex().encode()
    if run.first is None:
        run.first = run.end = int(places[0])
        run.prev_hash = follows = links[0]
    expected = range(run.end, run.end + len(places))
    linked = follows + b"".join(hashes[:-1]).hex().encode()
    return list(map(int, places)) == list(expected) and b"".join(links) == linked


def _grow(
    run: Run,
    forest: Forest,
    leaves: Sequence[bytes],
    hashes: Sequence[bytes],
    sizes: Sequence[int],
) -> None:
    """Add entries to a run, and keep the states at the sizes among them."""
    first, end = run.end, run.end + len(leaves)
    for size in sizes[bisect_right(sizes, first) : bisect_right(sizes, end)]:
        forest.extend(run.end, leaves[run.end - first : size - first])
        run.joints.append(Joint(size, hashes[size - first - 1], tuple(forest.trees)))
        run.end = size
    forest.extend(run.end, leaves[run.end - first :])
    run.end, run.head = end, hashes[-1]


def join(start: int, head: bytes, forest: Forest, run: Run) -> list[tuple[Joint, bytes]] | None:
    """Append a run to what came before it.

    Args:
        start: number of entries before the run.
        head: hash of the last of them.
        forest: their subtrees; those of the run are added.
        run: what was scanned.

    Returns:
        The states that were asked for, each with its root, or None if the run does not follow.
    """
    follows = head.hex().encode()
    if not run.sound or (run.first is not None and (run.first, run.prev_hash) != (start, follows)):
        return None
    joints = [(joint, Forest((*forest.trees, *joint.trees)).root) for joint in run.joints]
    for tree in run.trees:
        forest.push(*tree)
    return joints
