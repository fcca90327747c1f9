# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree, against the definition in RFC 6962 and against pymerkle."""

import random
from collections.abc import Sequence

import pytest
from pymerkle import InmemoryTree

from qpher_core.audit.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    Subtree,
    climb,
    consistency_path,
    grow,
    inclusion_path,
    last_leaf,
    leaf_hash,
    node_hash,
    peak_of,
    root_at,
    root_from_inclusion,
    root_of,
    siblings,
    stored_hash,
    subtrees,
    verify_consistency,
)

SIZES = (*range(1, 20), 31, 32, 33, 100)
BODIES = [b"entry %d" % i for i in range(max(SIZES))]


class Grown:
    """A tree as a store keeps it."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.nodes: list[bytes] = []
        self.peaks = b""
        self.reads = 0
        for size, body in enumerate(bodies):
            self.peaks, completed = grow(size, self.peaks, leaf_hash(body))
            self.nodes.append(completed)

    def fetch(self, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return stored hashes."""
        self.reads += len(wanted)
        return [stored_hash(self.nodes[last_leaf(subtree)], subtree) for subtree in wanted]


def definition(bodies: Sequence[bytes]) -> bytes:
    """Return MTH of RFC 6962 section 2.1, word for word."""
    if not bodies:
        return EMPTY_ROOT
    if len(bodies) == 1:
        return leaf_hash(bodies[0])
    split = max(1 << i for i in range(len(bodies).bit_length()) if 1 << i < len(bodies))
    return node_hash(definition(bodies[:split]), definition(bodies[split:]))


@pytest.fixture(scope="module")
def grown() -> Grown:
    """Return the tree over all bodies."""
    return Grown(BODIES)


@pytest.mark.parametrize("size", [0, *SIZES])
def test_roots_are_those_of_the_definition(grown: Grown, size: int) -> None:
    """Peaks and stored subtrees give the root of RFC 6962 for every size."""
    expected = definition(BODIES[:size])
    peaks = Grown(BODIES[:size]).peaks
    parts = [peaks[i : i + HASH_BYTES] for i in range(0, len(peaks), HASH_BYTES)]
    assert root_of(parts) == root_at(size, grown.fetch) == expected


@pytest.mark.parametrize("size", SIZES)
def test_every_inclusion_proof_holds_for_its_leaf_alone(grown: Grown, size: int) -> None:
    """A proof leads to the root from its own leaf and place, and from no other."""
    root = definition(BODIES[:size])
    for index in range(size):
        path = inclusion_path(index, size, grown.fetch)
        leaf = leaf_hash(BODIES[index])
        assert root_from_inclusion(leaf, index, size, path) == root
        assert root_from_inclusion(leaf_hash(b"other"), index, size, path) != root
        assert all(
            root_from_inclusion(leaf, other, size, path) != root
            for other in range(size)
            if other != index
        )
        for wrong in ([*path, bytes(32)], path[:-1]):
            assert wrong == path or root_from_inclusion(leaf, index, size, wrong) != root


@pytest.mark.parametrize("size", SIZES)
def test_siblings_lead_from_a_leaf_to_its_peak(grown: Grown, size: int) -> None:
    """The maximal complete subtree that has a leaf is found, and is where its siblings lead."""
    peaks = list(subtrees(0, size))
    for index in range(size):
        number, level = peak_of(index, size)
        assert peaks[number] == (level, index >> level)
        path = grown.fetch(siblings(index, level))
        assert climb(leaf_hash(BODIES[index]), index, path) == grown.fetch([peaks[number]])[0]


@pytest.mark.parametrize("second", SIZES)
def test_every_consistency_proof_holds_for_its_sizes_alone(grown: Grown, second: int) -> None:
    """A proof connects the two roots; another root, size or path does not pass."""
    new = definition(BODIES[:second])
    for first in range(second + 1):
        old = definition(BODIES[:first])
        path = consistency_path(first, second, grown.fetch)
        assert verify_consistency(first, second, old, new, path)
        assert not verify_consistency(first, second, bytes(32), new, path)
        assert not verify_consistency(first, second, old, new, [*path, bytes(32)])
        if first not in {0, second}:
            assert not verify_consistency(first, second, old, bytes(32), path)
            assert not verify_consistency(first, second, old, new, path[:-1])
            altered = [bytes(32), *path[1:]]
            assert not verify_consistency(first, second, old, new, altered)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 21, 64, 100])
def test_an_independent_implementation_agrees(grown: Grown, size: int) -> None:
    """Pymerkle has the same inclusion paths, and our consistency proofs connect its roots."""
    peer = InmemoryTree(algorithm="sha256")
    for body in BODIES[:size]:
        peer.append_entry(body)
    assert root_at(size, grown.fetch) == peer.get_root()
    for index in range(size):
        theirs = [bytes.fromhex(h) for h in peer.prove_inclusion(index + 1).serialize()["path"]]
        ours = [leaf_hash(BODIES[index]), *inclusion_path(index, size, grown.fetch)]
        assert sorted(ours) == sorted(theirs)
    for first in range(1, size + 1):
        path = consistency_path(first, size, grown.fetch)
        assert verify_consistency(first, size, peer.get_root(first), peer.get_root(size), path)


def test_a_proof_reads_a_logarithm() -> None:
    """In a tree of 10,000 leaves no proof reads more than twice its height."""
    tree = Grown([b"%d" % i for i in range(10_000)])
    chosen = random.Random(1)
    for _ in range(200):
        tree.reads = 0
        inclusion_path(chosen.randrange(10_000), 10_000, tree.fetch)
        assert tree.reads <= 28
        tree.reads = 0
        consistency_path(chosen.randrange(1, 10_000), 10_000, tree.fetch)
        assert tree.reads <= 28


def test_tiles_cover_a_range_once() -> None:
    """The complete subtrees of a range are adjacent, aligned and cover it."""
    for start in range(40):
        for end in range(start, 40):
            place = start
            for level, index in subtrees(start, end):
                assert index << level == place
                place += 1 << level
            assert place == end


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_no_proof_of_a_leaf_outside(index: int, size: int) -> None:
    """Asking for a leaf that the tree does not have is refused, and so is verifying one."""
    with pytest.raises(ValueError, match="not in the tree"):
        inclusion_path(index, size, lambda _: [])
    assert root_from_inclusion(bytes(32), index, size, []) is None


def test_no_consistency_backwards() -> None:
    """A larger tree is no prefix of a smaller one."""
    with pytest.raises(ValueError, match="must not be larger"):
        consistency_path(3, 2, lambda _: [])
    assert not verify_consistency(3, 2, bytes(32), bytes(32), [bytes(32)])


def test_peaks_of_another_size_are_refused() -> None:
    """Growing a tree with the wrong number of peaks is refused."""
    with pytest.raises(ValueError, match="peaks"):
        grow(3, bytes(32), bytes(32))
