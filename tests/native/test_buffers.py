# SPDX-License-Identifier: Apache-2.0
"""Inputs are checked before C sees them; outputs are new objects."""

from __future__ import annotations

import pytest

from qpher_native import _buffers
from qpher_native._native import lib


class Liar(bytes):
    """A bytes object that reports another length."""

    def __len__(self) -> int:
        return 32


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like_objects_are_taken_as_they_are(kind: type) -> None:
    """bytes, bytearray and memoryview all pass, with the right content."""
    out = _buffers.output(32)
    data = _buffers.sized(kind(b"abc"), "data", 3)
    assert lib.qpher_sha3_256(out, data, len(data)) == 0
    assert out.hex() == "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_wrong_sizes_are_refused(size: int) -> None:
    """The error names the parameter, the expected size and the one given."""
    with pytest.raises(ValueError, match=f"^seed must be 32 bytes, not {size}$"):
        _buffers.sized(bytes(size), "seed", 32)


def test_too_long_inputs_are_refused() -> None:
    """at_most accepts up to its limit and names it."""
    assert len(_buffers.at_most(bytes(255), "context", 255)) == 255
    with pytest.raises(ValueError, match="^context must be at most 255 bytes, not 256$"):
        _buffers.at_most(bytearray(256), "context", 255)


@pytest.mark.parametrize("value", ["text", 5, None, [1, 2], object()])
def test_other_types_are_refused(value: object) -> None:
    """Anything that is not bytes-like is a TypeError that names the parameter and the type."""
    for check in (
        lambda: _buffers.sized(value, "seed", 32),  # type: ignore[arg-type]
        lambda: _buffers.at_most(value, "seed", 32),  # type: ignore[arg-type]
        lambda: _buffers.any_size(value, "seed"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=f"^seed must be bytes.*, not {type(value).__name__}$"):
            check()


def test_memory_with_gaps_is_refused() -> None:
    """A strided memoryview is a ValueError, not a wrong answer."""
    with pytest.raises(ValueError, match="contiguous"):
        _buffers.sized(memoryview(bytes(64))[::2], "seed", 32)


def test_items_wider_than_a_byte_count_as_bytes() -> None:
    """A memoryview of 8 words of 32 bits is 32 bytes."""
    view = memoryview(bytearray(32)).cast("I")
    assert len(_buffers.sized(view, "seed", 32)) == 32


def test_a_subclass_cannot_lie_about_its_length() -> None:
    """The length of the memory counts, not what __len__ says."""
    with pytest.raises(ValueError, match="not 3$"):
        _buffers.sized(Liar(b"abc"), "seed", 32)


def test_a_borrowed_bytearray_cannot_be_resized() -> None:
    """While C may read a bytearray, nobody can move its memory."""
    data = bytearray(32)
    held = _buffers.any_size(data, "data")
    with pytest.raises(BufferError):
        data.append(0)
    del held
    data.append(0)


def test_outputs_are_never_shared() -> None:
    """Two outputs of one length are two objects with memory of their own."""
    one, two = _buffers.output(32), _buffers.output(32)
    assert one is not two
    lib.qpher_sha3_256(one, b"", 0)
    assert two == bytes(32)
    assert _buffers.output(32) == bytes(32)


def test_randomness_fills_everything() -> None:
    """qpher_random fills lengths below and above one request, and two calls differ."""
    for size in (32, 255, 256, 257, 5000):
        one, two = _buffers.output(size), _buffers.output(size)
        assert lib.qpher_random(one, size) == 0
        assert lib.qpher_random(two, size) == 0
        assert one != two
        assert any(one[-8:])
