# SPDX-License-Identifier: Apache-2.0
"""SHA3 and SHAKE of the C core against hashlib, and the constants against their definition."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from qpher_native._buffers import output
from qpher_native._native import lib

CSRC = Path(__file__).resolve().parents[2] / "bindings" / "csrc"
DATA = bytes((i * 167 + 13) % 256 for i in range(1200))


@pytest.mark.parametrize("name", ["sha3_256", "sha3_512"])
def test_sha3_agrees_with_hashlib(name: str) -> None:
    """Every input length up to five blocks gives the digest that hashlib gives."""
    digest = getattr(lib, f"qpher_{name}")
    for n in range(700):
        want = hashlib.new(name, DATA[:n]).digest()
        out = output(len(want))
        assert digest(out, DATA, n) == 0
        assert out == want, n


@pytest.mark.parametrize("name", ["shake128", "shake256"])
def test_shake_agrees_with_hashlib(name: str) -> None:
    """Every input length and many output lengths give what hashlib gives."""
    xof = getattr(lib, f"qpher_{name}")
    for n in range(700):
        size = 2 + (n * 37) % 600
        out = output(size)
        assert xof(out, size, DATA, n) == 0
        assert out == hashlib.new(name, DATA[:n]).digest(size), n


def test_null_pointers_are_refused() -> None:
    """A null output, or a null input of some length, is an error and not a crash."""
    from qpher_native._native import ffi

    assert lib.qpher_sha3_256(ffi.NULL, b"", 0) == lib.QPHER_ERR_ARGUMENT
    assert lib.qpher_sha3_256(output(32), ffi.NULL, 1) == lib.QPHER_ERR_ARGUMENT


def _rc(t: int) -> int:
    """FIPS 202, algorithm 5: one bit of the round constants."""
    r = 1
    for _ in range(t % 255):
        r <<= 1
        if r & 0x100:
            r ^= 0x171
    return r & 1


def test_round_constants_are_those_of_the_standard() -> None:
    """keccak_rc in the C source is what algorithms 5 and 6 of FIPS 202 generate."""
    table = re.search(r"keccak_rc\[24\] = \{(.*?)\}", (CSRC / "keccak_rc.h").read_text(), re.DOTALL)
    assert table is not None
    found = [int(word, 16) for word in re.findall(r"0x[0-9a-f]+", table.group(1))]
    assert found == [sum(_rc(7 * i + j) << (2**j - 1) for j in range(7)) for i in range(24)]


def _rotations() -> dict[int, int]:
    """FIPS 202, algorithm 2: by how much each word but the first is rotated."""
    counts, x, y = {}, 1, 0
    for t in range(24):
        counts[5 * y + x] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return counts


def test_rotations_are_those_of_the_standard() -> None:
    """The rotation counts in the C source are what algorithm 2 of FIPS 202 generates."""
    source = (CSRC / "keccak_round.h").read_text()
    found = {int(i): int(n) for i, n in re.findall(r"ROL\(XOR\(a\[(\d+)\], d\d\), (\d+)\)", source)}
    assert found == _rotations()


def test_rotations_of_the_avx512_round() -> None:
    """Its rotation counts are what algorithm 2 generates, and its columns those of the words."""
    source = (CSRC / "keccak_avx512_round.h").read_text()
    rotated = re.findall(r"ROTATED\(a(\d+), a(\d+), (\d+)\)", source)
    assert {int(a): int(n) for a, b, n in rotated if a == b} == _rotations()
    added = re.findall(r"ADD_(\d)\(a(\d+)\)", source)
    assert sorted(int(word) for _, word in added) == list(range(25))
    assert all(int(word) % 5 == int(column) for column, word in added)
