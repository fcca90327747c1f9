# SPDX-License-Identifier: Apache-2.0
"""Reading entries in blocks: what is read, and the tree that grows from it."""

import io
from collections.abc import Sequence
from itertools import pairwise

import pytest

from qpher_core.audit.export import LONGEST_LINE, blocks
from qpher_core.audit.scan import Forest
from qpher_core.audit.tree import leaf_hash
from tests.unit.test_tree import definition

BODIES = [b"entry %d" % i for i in range(70)]
LEAVES = list(map(leaf_hash, BODIES))
LINES = [b"{%s}\n" % (b"x" * length) for length in (0, 5, 300, 7, 40, 41, 90)]
THE_END = b'{"end":{"head":"00","size":7}}\n'


def _read(data: bytes, start: int, end: int) -> list[bytes]:
    file = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    file.seek(start)
    return list(blocks(file, end - start))


@pytest.mark.parametrize("cuts", [(), (1,), (3, 4), (1, 2, 3, 5, 8, 13, 21, 34, 55), (32, 64)])
def test_leaves_at_once_give_the_tree_of_the_definition(cuts: Sequence[int]) -> None:
    """However leaves come, together or alone, the root is that of RFC 6962."""
    for size in range(len(LEAVES) + 1):
        forest = Forest()
        for start, end in pairwise((0, *(cut for cut in cuts if cut < size), size)):
            forest.extend(start, LEAVES[start:end])
        assert forest.root == definition(BODIES[:size])


def test_leaves_from_the_middle_give_the_subtrees_of_one_by_one() -> None:
    """A run that begins anywhere has the same complete subtrees as by adding each leaf."""
    for start in range(20):
        for end in range(start, len(LEAVES)):
            together = Forest()
            together.extend(start, LEAVES[start:end])
            alone = Forest((0, place, LEAVES[place]) for place in range(start, end))
            assert together.trees == alone.trees


@pytest.mark.parametrize("size", [1, 2, 3, 50, 300, 10_000])
def test_blocks_are_all_lines_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of any size are whole lines, and all of them but the end."""
    monkeypatch.setattr("qpher_core.audit.export._BLOCK_BYTES", size)
    data = b"".join(LINES)
    found = _read(data + THE_END, 0, len(data + THE_END))
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found)
    assert found.count(data) == (size == 10_000)


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_pieces_have_the_lines_that_begin_in_them(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece ends with the line that begins before its end, and none is in two."""
    monkeypatch.setattr("qpher_core.audit.export._BLOCK_BYTES", size)
    data = b"".join(LINES)
    for end in range(1, len(data)):
        lengths = [len(b"".join(LINES[:count])) for count in range(len(LINES) + 1)]
        expected = next(length for length in lengths if length >= end)
        assert b"".join(_read(data + THE_END, 0, end)) == data[:expected]


def test_only_an_end_that_nothing_follows_is_left_out() -> None:
    """An end in the middle, or a second one, is handed on as what it is: no entry."""
    data = b"".join(LINES)
    for rest in (LINES[0], b"\n", THE_END):
        found = b"".join(_read(data + THE_END + rest, 0, 10_000))
        assert found == data + THE_END + (b"" if rest == THE_END else rest)
    assert b"".join(_read(data + THE_END[:-1], 0, 10_000)) == data


@pytest.mark.parametrize("before", [0, 100_000])
def test_a_line_too_long_is_cut(before: int) -> None:
    """No more than the longest line is read of one, wherever it begins."""
    longest = b"x" * (LONGEST_LINE - 1) + b"\n"
    start = b"y" * before + b"\n"
    assert b"".join(_read(start + longest, 0, before + 2)) == start + longest
    (block,) = _read(start + b"x" + longest, 0, before + 2)
    assert block == start + b"x" * LONGEST_LINE
