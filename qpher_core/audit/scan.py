# SPDX-License-Identifier: Apache-2.0
"""Reading a run of entries once: chain, canonical form and Merkle tree, in constant memory.

A run may begin anywhere in the log, so an export can be cut into pieces that are scanned side
by side and joined afterwards.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import define, field, frozen

from qpher_core.audit.grammar import ENTRY, is_entry
from qpher_core.audit.tree import node_hash, root_of

__all__ = ["Forest", "Joint", "Run", "join", "scan"]

_LEAF: Final = b"\x00"


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
        prev_hash: what its first entry follows.
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


def scan(lines: Iterable[bytes], tenant: str, sizes: Sequence[int]) -> Run:
    """Scan entries, one in a line.

    Args:
        lines: the entries, each with its newline.
        tenant: id of the log's tenant, which every entry names.
        sizes: sizes, ascending, at which the state is wanted.
    """
    run, forest, sha256, match = Run(), Forest(), hashlib.sha256, ENTRY.fullmatch
    expected_tenant = tenant.encode()
    wanted = iter(sizes)
    expected, head, due = -1, "", -1
    for line in lines:
        body = line[:-1]
        found = match(body)
        if found is None or line[-1:] != b"\n" or not (body.isascii() or is_entry(body)):
            run.sound = False
            break
        prev_hash, place, owner = found.groups()
        seq = int(place)
        if run.first is None:
            run.first, run.prev_hash = seq, bytes.fromhex(prev_hash.decode())
            due = next((size for size in wanted if size > seq), -1)
        elif seq != expected or prev_hash.decode() != head:
            run.sound = False
            break
        if owner != expected_tenant:
            run.sound = False
            break
        head = sha256(body).hexdigest()
        forest.push(0, seq, sha256(_LEAF + body).digest())
        expected = seq + 1
        if expected == due:
            run.joints.append(Joint(expected, bytes.fromhex(head), tuple(forest.trees)))
            due = next(wanted, -1)
    run.end, run.head, run.trees = max(expected, 0), bytes.fromhex(head), tuple(forest.trees)
    return run


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
    if not run.sound or (run.first is not None and (run.first, run.prev_hash) != (start, head)):
        return None
    joints = [(joint, Forest((*forest.trees, *joint.trees)).root) for joint in run.joints]
    for tree in run.trees:
        forest.push(*tree)
    return joints
