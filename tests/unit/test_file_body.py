# SPDX-License-Identifier: Apache-2.0
"""Descriptions of encrypted files: what names may be in them, and what checking them costs."""

import tracemalloc

import pytest

from qpher_core.errors import ValidationError
from qpher_core.file_body import Description


@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("a", "a/b"), ("a/b/c", "a-b", "a/b"), ("a/b", "a!", "a", "a.c")],
)
def test_no_name_is_there_twice_or_a_folder_as_well(names: tuple[str, ...]) -> None:
    """Whatever their order is and what stands between them."""
    with pytest.raises(ValidationError, match="different names"):
        Description.of(None, [(name, 1) for name in names])


def test_names_that_only_begin_alike_are_different() -> None:
    """A name is in a folder only behind a slash."""
    names = ("a/b", "a/bc", "a!", "ab", "a.b/c", "b")
    assert Description.of(None, [(name, 1) for name in names]).files_bytes == len(names)


def test_deep_names_take_little_memory() -> None:
    """Anyone can encrypt to a public key: 4 MiB of names must not take gigabytes to be read."""
    deep = "/".join(["a" * 16] * 240)
    files = [(f"{number}/{deep}", 1) for number in range(50)]
    tracemalloc.start()
    Description.of(None, files)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 << 20
