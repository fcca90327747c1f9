# SPDX-License-Identifier: Apache-2.0
"""The sponge at every split offset, and the many-lane forms against the single one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.native.internal import load

ffi, lib = load("""
typedef struct { uint64_t s[25]; uint32_t pos, rate; } keccak_sponge;
void shake128_init(keccak_sponge *k);
void shake256_init(keccak_sponge *k);
void shake_absorb(keccak_sponge *k, const uint8_t *in, size_t len);
void shake_finalize(keccak_sponge *k);
void shake_squeeze(keccak_sponge *k, uint8_t *out, size_t len);
void keccak_f1600(uint64_t *s);
void keccak_f1600_x4(uint64_t *s);
void keccak_f1600_x8(uint64_t *s);
unsigned keccak_preferred_lanes(void);
typedef struct { uint64_t s[200]; uint32_t rate, lanes, n, pad[13]; } keccak_lanes;
void keccak_lanes_absorb(keccak_lanes *k, unsigned n, unsigned rate, const uint8_t *const *in,
                         size_t inlen);
void keccak_lanes_absorb_suffix(keccak_lanes *k, unsigned n, unsigned rate, uint8_t suffix,
                                const uint8_t *const *in, size_t inlen);
void keccak_lanes_squeeze_blocks(keccak_lanes *k, uint8_t *const *out, size_t nblocks);
struct keccak_call {
    const uint8_t *input;
    uint8_t *out;
    uint64_t *state;
    uint8_t len, rate, suffix, blocks;
};
void keccak_calls(const struct keccak_call *calls, unsigned n);
""")

RATES = {"shake128": 168, "shake256": 136}
DATA = random.Random(1).randbytes(4096)


@pytest.fixture(
    params=range(lib.qpher_cpu_best() + 1), ids=["portable", "avx2", "avx512"].__getitem__
)
def path(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each code path of this CPU in turn."""
    assert lib.qpher_init(request.param) == request.param
    yield request.param
    lib.qpher_init(-1)


def aligned(words: int) -> Any:
    """A fresh array of 64-bit words, aligned to 64 bytes, with its owner."""
    memory = ffi.new("uint8_t[]", 8 * words + 64)
    address = int(ffi.cast("uintptr_t", memory))
    return ffi.cast("uint64_t *", (address + 63) & ~63), memory


def lanes_object() -> Any:
    """A keccak_lanes aligned to 64 bytes, with its owner."""
    words, owner = aligned(ffi.sizeof("keccak_lanes") // 8)
    return ffi.cast("keccak_lanes *", words), owner


@pytest.mark.parametrize("name", RATES)
def test_sponge_at_every_split_offset(name: str, path: int) -> None:
    """Input cut in two at every offset and output cut in two at every offset change nothing."""
    size = 2 * RATES[name] + 11
    data = DATA[:size]
    want = hashlib.new(name, data).digest(size)
    k = ffi.new("keccak_sponge *")
    out = ffi.new("uint8_t[]", size)
    source = ffi.from_buffer(data)
    for cut in range(size + 1):
        getattr(lib, f"{name}_init")(k)
        lib.shake_absorb(k, source, cut)
        lib.shake_absorb(k, source + cut, size - cut)
        lib.shake_finalize(k)
        lib.shake_squeeze(k, out, cut)
        lib.shake_squeeze(k, out + cut, size - cut)
        assert bytes(out) == want, cut


@pytest.mark.parametrize("name", RATES)
def test_sponge_in_many_small_pieces(name: str, path: int) -> None:
    """Pieces of random lengths, empty ones included, give what one piece gives."""
    rng = random.Random(2)
    k = ffi.new("keccak_sponge *")
    for _ in range(100):
        data = rng.randbytes(rng.randrange(1000))
        want = hashlib.new(name, data).digest(1000)
        getattr(lib, f"{name}_init")(k)
        at = 0
        while at < len(data):
            n = min(rng.choice([0, 1, 7, 8, 9, 64, 135, 136, 168, 300]), len(data) - at)
            lib.shake_absorb(k, data[at : at + n], n)
            at += n
        lib.shake_finalize(k)
        got = b""
        while len(got) < 1000:
            n = min(rng.choice([0, 1, 7, 8, 9, 64, 135, 136, 168, 300]), 1000 - len(got))
            out = ffi.new("uint8_t[]", n)
            lib.shake_squeeze(k, out, n)
            got += bytes(out)
        assert got == want


@pytest.mark.parametrize("lanes", [4, 8])
def test_interleaved_permutation_is_the_single_one(lanes: int, path: int) -> None:
    """keccak_f1600_x4 and _x8 do to each lane what the portable keccak_f1600 does."""
    rng = random.Random(3)
    for _ in range(20):
        states = [[rng.getrandbits(64) for _ in range(25)] for _ in range(lanes)]
        s, _owner = aligned(25 * lanes)
        for j, state in enumerate(states):
            for i, w in enumerate(state):
                s[lanes * i + j] = w
        getattr(lib, f"keccak_f1600_x{lanes}")(s)
        lib.qpher_init(0)
        for j, state in enumerate(states):
            one = ffi.new("uint64_t[25]", state)
            lib.keccak_f1600(one)
            assert list(one) == [s[lanes * i + j] for i in range(25)]
        lib.qpher_init(path)


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("name", RATES)
def test_lanes_agree_with_hashlib(name: str, n: int, path: int) -> None:
    """N inputs of many lengths, several blocks squeezed in two calls, as hashlib gives them."""
    rate = RATES[name]
    rng = random.Random(n)
    lengths = [0, 1, 7, 8, 32, 33, 34, 64, 65, 66, rate - 1, rate, rate + 1, 2 * rate, 777]
    for inlen in [*lengths, *(rng.randrange(1300) for _ in range(10))]:
        inputs = [rng.randbytes(inlen) for _ in range(n)]
        k, _owner = lanes_object()
        sources = [ffi.from_buffer(data) for data in inputs]
        outs = [ffi.new("uint8_t[]", 5 * rate) for _ in range(n)]
        lib.keccak_lanes_absorb(k, n, rate, ffi.new("uint8_t *[]", sources), inlen)
        lib.keccak_lanes_squeeze_blocks(k, ffi.new("uint8_t *[]", outs), 2)
        later = [out + 2 * rate for out in outs]
        lib.keccak_lanes_squeeze_blocks(k, ffi.new("uint8_t *[]", later), 3)
        for data, out in zip(inputs, outs, strict=True):
            assert bytes(out) == hashlib.new(name, data).digest(5 * rate)


@pytest.mark.parametrize("name", ["sha3_256", "sha3_512"])
def test_lanes_with_the_sha3_suffix(name: str, path: int) -> None:
    """The first block squeezed under the SHA3 suffix begins with the digest."""
    size = {"sha3_256": 32, "sha3_512": 64}[name]
    rate = 200 - 2 * size
    for n in range(1, 9):
        inputs = [DATA[j : j + 100 + 40 * n] for j in range(n)]
        k, _owner = lanes_object()
        sources = [ffi.from_buffer(data) for data in inputs]
        outs = [ffi.new("uint8_t[]", rate) for _ in range(n)]
        lib.keccak_lanes_absorb_suffix(
            k, n, rate, 6, ffi.new("uint8_t *[]", sources), len(inputs[0])
        )
        lib.keccak_lanes_squeeze_blocks(k, ffi.new("uint8_t *[]", outs), 1)
        for data, out in zip(inputs, outs, strict=True):
            assert bytes(out)[:size] == hashlib.new(name, data).digest()


def test_preferred_lanes_is_a_width(path: int) -> None:
    """The preferred number of lanes is 1 on the portable path, 4 or 8 on the others."""
    assert lib.keccak_preferred_lanes() in ((1,) if path == 0 else (4, 8))


# rate, suffix: the digest of hashlib, and whether it has a length of our choice.
FUNCTIONS: dict[tuple[int, int], Callable[[bytes, int], bytes]] = {
    (168, 0x1F): lambda data, size: hashlib.shake_128(data).digest(size),
    (136, 0x1F): lambda data, size: hashlib.shake_256(data).digest(size),
    (72, 0x06): lambda data, _: hashlib.sha3_512(data).digest(),
}


def call(rate: int, suffix: int, data: bytes, blocks: int) -> tuple[Any, list[Any]]:
    """A keccak_call whose output and its room are followed by a 77, with what must stay alive."""
    source = ffi.new("uint8_t[72]", data)
    out = ffi.new("uint8_t[]", (blocks - 1) * rate + 168 + 1)
    out[len(out) - 1] = 77
    fields = {"len": len(data), "rate": rate, "suffix": suffix, "blocks": blocks}
    return ffi.new("struct keccak_call *", {"input": source, "out": out, **fields}), [source, out]


def test_independent_calls(path: int) -> None:
    """Calls of several functions, lengths and outputs at once give what each gives alone."""
    rng = random.Random(2)
    for trial in range(60):
        wanted, parts = [], []
        for _ in range(1 + trial % 20):
            (rate, suffix), function = rng.choice(list(FUNCTIONS.items()))
            data = rng.randbytes(rng.choice((0, 33, 34, 64, rng.randrange(65))))
            blocks = 1 if rate == 72 else rng.randrange(1, 4)
            parts.append(call(rate, suffix, data, blocks))
            wanted.append(function(data, blocks * rate))
        lib.keccak_calls(ffi.new("struct keccak_call[]", [c[0] for c, _ in parts]), len(parts))
        for (_, (_, out)), digest in zip(parts, wanted, strict=True):
            assert bytes(out)[: len(digest)] == digest
            assert out[len(out) - 1] == 77


@pytest.mark.parametrize("neighbours", [0, 1, 3, 7, 30])
@pytest.mark.parametrize("first", [True, False])
def test_a_state_absorbs_beside_other_calls(neighbours: int, path: int, *, first: bool) -> None:
    """Blocks absorbed by calls, one and then three, and the rest by the sponge are one SHAKE256."""
    k, blocks = ffi.new("keccak_sponge *"), ffi.new("uint8_t[]", DATA[: 4 * 136])
    lib.shake256_init(k)
    for at, count in ((0, 1), (1, 3)):
        parts = [call(168, 0x1F, bytes([j]), 1 + j % 3) for j in range(neighbours)]
        fields = {"input": blocks + 136 * at, "state": k.s, "rate": 136, "blocks": count}
        absorb = ffi.new("struct keccak_call *", fields)[0]
        others = [c[0] for c, _ in parts]
        calls = [absorb, *others] if first else [*others, absorb]
        lib.keccak_calls(ffi.new("struct keccak_call[]", calls), len(calls))
        for j, (_, (_, out)) in enumerate(parts):
            size = 168 * (1 + j % 3)
            assert bytes(out)[:size] == hashlib.shake_128(bytes([j])).digest(size)
            assert out[len(out) - 1] == 77
    lib.shake_absorb(k, ffi.from_buffer(DATA) + 4 * 136, 10)
    lib.shake_finalize(k)
    out = ffi.new("uint8_t[]", 500)
    lib.shake_squeeze(k, out, 500)
    assert bytes(out) == hashlib.shake_256(DATA[: 4 * 136 + 10]).digest(500)
