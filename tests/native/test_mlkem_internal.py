# SPDX-License-Identifier: Apache-2.0
"""ML-KEM inside: constants recomputed, every unit against the portable one and the integers."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from tests.native.internal import CSRC, load

Q, R = 3329, 1 << 16
NEAR = (-Q // 4, 5 * Q // 4)  # the range that products leave
ffi, lib = load("""
typedef struct { int16_t c[256]; } poly;
typedef struct { int16_t even[256], odd[256]; } factor;
struct mlkem_unit {
    void (*ntt)(poly *p);
    void (*intt)(poly *p);
    void (*prepare)(factor *f, const poly *b);
    void (*dot)(poly *r, const poly *a, unsigned stride, const factor *b, unsigned k);
    void (*finish)(poly *t, const poly *e);
    void (*canonical)(poly *p);
    unsigned (*reject_uniform)(poly *r, unsigned have, const uint8_t *in, unsigned len);
    void (*cbd2)(poly *p, const uint8_t *in);
    void (*cbd3)(poly *p, const uint8_t *in);
    void (*encode12)(uint8_t *out, const poly *p);
    void (*decode12)(poly *p, const uint8_t *in);
    void (*compress)(uint8_t *out, const poly *a, const poly *b, unsigned d);
    void (*decompress)(poly *p, const uint8_t *in, unsigned d);
    void (*add_message)(poly *p, const uint8_t *m);
    void (*get_message)(uint8_t *m, const poly *v, const poly *w);
    uint32_t (*differ)(const uint8_t *a, const uint8_t *b, unsigned n);
};
const struct mlkem_unit *mlkem_unit_for(int path);
extern const int16_t mlkem_zetas[128], mlkem_zetas_quotient[128];
extern const int16_t mlkem_pair_zetas[256], mlkem_pair_quotients[256];
""")
REFERENCE = lib.mlkem_unit_for(0)
KEEP: list[Any] = []


@pytest.fixture(
    params=range(lib.qpher_cpu_best() + 1), ids=["portable", "avx2", "avx512"].__getitem__
)
def unit(request: pytest.FixtureRequest) -> Any:
    """The functions of one code path."""
    KEEP.clear()
    return lib.mlkem_unit_for(request.param)


def aligned(kind: str, count: int = 1) -> Any:
    """``count`` zeroed objects aligned to 64 bytes."""
    memory = ffi.new("char[]", count * ffi.sizeof(kind) + 64)
    KEEP.append(memory)
    address = int(ffi.cast("uintptr_t", memory))
    return ffi.cast(f"{kind} *", address + -address % 64)


def poly(values: Any = ()) -> Any:
    """A polynomial."""
    p = aligned("poly")
    for i, value in enumerate(values):
        p.c[i] = value
    return p


def coefficients(p: Any) -> list[int]:
    """All 256, as they stand."""
    return list(ffi.unpack(p.c, 256))


def residues(p: Any) -> list[int]:
    """All 256 modulo q."""
    return [x % Q for x in ffi.unpack(p.c, 256)]


def is_near(p: Any) -> bool:
    """Whether all coefficients are in the range that products leave."""
    return all(NEAR[0] <= x <= NEAR[1] for x in coefficients(p))


def centered(x: int) -> int:
    """X mod+- q."""
    x %= Q
    return x - Q if x > Q // 2 else x


def bit_reversed(k: int) -> int:
    """BitRev7."""
    return int(f"{k:07b}"[::-1], 2)


def quotient(x: int) -> int:
    """round(x * 2^16 / q)."""
    return (2 * x * R + Q) // (2 * Q)


# ---- Constants -------------------------------------------------------------------------------

ZETAS = [centered(pow(17, bit_reversed(k), Q)) for k in range(128)]


def test_zetas() -> None:
    """The tables are what their comments say; those for lanes repeat the first."""
    assert list(lib.mlkem_zetas) == ZETAS
    assert list(lib.mlkem_zetas_quotient) == [quotient(x) for x in ZETAS]
    pairs = [x for zeta in ZETAS[64:] for x in (1, zeta, 1, -zeta)]
    assert list(lib.mlkem_pair_zetas) == pairs
    assert list(lib.mlkem_pair_quotients) == [quotient(x) for x in pairs]


@pytest.mark.skipif(lib.qpher_cpu_best() == 0, reason="the tables are those of x86-64")
def test_tables_of_the_vector_units() -> None:
    """Zetas spread over the lanes of each layer, forwards and backwards, and the compaction."""
    _, t = load("""
        extern const int16_t mlkem_lane_zetas[4][128], mlkem_lane_quotients[4][128];
        extern const int16_t mlkem_lane_inverse_zetas[4][128], mlkem_lane_inverse_quotients[4][128];
        extern const uint64_t mlkem_compact[256];
    """)
    for layer, length in enumerate((16, 8, 4, 2)):
        blocks = 128 // length
        forwards = [ZETAS[blocks + i // length] for i in range(128)]
        backwards = [ZETAS[2 * blocks - 1 - i // length] for i in range(128)]
        assert list(t.mlkem_lane_zetas[layer]) == forwards
        assert list(t.mlkem_lane_quotients[layer]) == [quotient(x) for x in forwards]
        assert list(t.mlkem_lane_inverse_zetas[layer]) == backwards
        assert list(t.mlkem_lane_inverse_quotients[layer]) == [quotient(x) for x in backwards]
    for mask in range(256):
        lanes = bytes(2 * i for i in range(8) if mask >> i & 1)
        assert t.mlkem_compact[mask] == int.from_bytes(lanes, "little")


def test_constants() -> None:
    """The numbers in mlkem_poly.h."""
    text = (CSRC / "mlkem_poly.h").read_text(encoding="utf-8")
    values = {name: int(value) for name, value in re.findall(r"(MLKEM_\w+) = (-?\d+),", text)}
    assert values["MLKEM_QINV"] * Q % R == 1
    assert quotient(1) == values["MLKEM_ONE_QUOTIENT"]
    assert values["MLKEM_R"] == centered(R)
    assert values["MLKEM_R_QUOTIENT"] == quotient(centered(R))
    assert (values["MLKEM_INTT_FACTOR"] * 128 - R) % Q == 0
    assert values["MLKEM_INTT_QUOTIENT"] == quotient(values["MLKEM_INTT_FACTOR"])
    assert values["MLKEM_MESSAGE_ONE"] == (Q + 1) // 2


# ---- The ring --------------------------------------------------------------------------------


def slow_product(a: list[int], b: list[int]) -> list[int]:
    """A * b modulo X^256 + 1 and q."""
    result = [0] * 512
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] += x * y
    return [(result[i] - result[i + 256]) % Q for i in range(256)]


EXTREMES = [[Q] * 256, [-Q] * 256, [Q * (-1) ** i for i in range(256)]]


def inputs(seed: int, low: int = -Q, high: int = Q) -> list[list[int]]:
    """Polynomials at the edges of a range and random ones."""
    rng = random.Random(seed)
    edges = [[low] * 256, [high] * 256, [(low, high)[i % 2] for i in range(256)]]
    edges += [[rng.choice((low, high)) for _ in range(256)] for _ in range(20)]
    return edges + [[rng.randint(low, high) for _ in range(256)] for _ in range(5)]


def test_product_through_the_ntt(unit: Any) -> None:
    """NTT, product and inverse NTT multiply in the ring; the extremes included."""
    samples = [*EXTREMES, *inputs(2)[-3:]]
    for a, b in zip(samples, reversed(samples), strict=True):
        x, y, z, f = poly(a), poly(b), poly(), aligned("factor")
        unit.ntt(x)
        unit.ntt(y)
        unit.prepare(f, y)
        unit.dot(z, x, 1, f, 1)
        unit.intt(z)
        assert is_near(x)
        assert is_near(z)
        assert residues(z) == slow_product(a, b)


def test_ntt_is_the_one_of_the_standard(unit: Any) -> None:
    """Pair i of the NTT is the remainder modulo X^2 - zeta^(2 BitRev7(i) + 1)."""
    values = [random.Random(3).randrange(Q) for _ in range(256)]
    p = poly(values)
    unit.ntt(p)
    for i in (0, 1, 2, 63, 64, 127):
        gamma = pow(17, 2 * bit_reversed(i) + 1, Q)
        for part in range(2):
            want = sum(values[2 * j + part] * pow(gamma, j, Q) for j in range(128)) % Q
            assert residues(p)[2 * i + part] == want


def test_transforms_agree_bit_for_bit(unit: Any) -> None:
    """At the edges of its range every unit computes what the portable one does, and undoes it."""
    for name, low, high in (("ntt", -Q, Q), ("intt", -11 * Q // 10, 11 * Q // 10)):
        for values in inputs(4, low, high):
            got, want = poly(values), poly(values)
            getattr(unit, name)(got)
            getattr(REFERENCE, name)(want)
            assert coefficients(got) == coefficients(want)
            assert is_near(got)
            getattr(unit, "intt" if name == "ntt" else "ntt")(got)
            assert residues(got) == [x * R % Q for x in values]


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 3])
def test_dot(unit: Any, k: int, stride: int) -> None:
    """Sums of products at the edge of their range are exact and come out below 1.1 q."""
    rng = random.Random(k)
    a, f, r = aligned("poly", k * stride), aligned("factor", k), poly()
    left = [[rng.choice(NEAR) for _ in range(256)] for _ in range(k)]
    right = [[rng.choice((*NEAR, rng.randint(*NEAR))) for _ in range(256)] for _ in range(k)]
    for j in range(k):
        a[j * stride].c = left[j]
        unit.prepare(f + j, poly(right[j]))
    unit.dot(r, a, stride, f, k)
    want = []
    for i in range(128):
        gamma = pow(17, 2 * bit_reversed(i) + 1, Q)
        x, y = [v[2 * i : 2 * i + 2] for v in left], [v[2 * i : 2 * i + 2] for v in right]
        pairs = list(zip(x, y, strict=True))
        want.append(sum(s[0] * t[0] + s[1] * t[1] * gamma for s, t in pairs))
        want.append(sum(s[0] * t[1] + s[1] * t[0] for s, t in pairs))
    assert residues(r) == [x * pow(R, -1, Q) % Q for x in want]
    assert max(map(abs, coefficients(r))) < 1.1 * Q


def test_finish_and_canonical(unit: Any) -> None:
    """Every value of 16 bits comes out canonical, and t * 2^16 + e with it."""
    for start in range(-(1 << 15), 1 << 15, 256):
        values = range(start, start + 256)
        p, t, e = poly(values), poly(values), poly([NEAR[i % 2] for i in range(256)])
        unit.canonical(p)
        assert coefficients(p) == [x % Q for x in values]
        unit.finish(t, e)
        assert coefficients(t) == [(x * R + NEAR[i % 2]) % Q for i, x in enumerate(values)]
        KEEP.clear()


# ---- Encoding --------------------------------------------------------------------------------


def guarded(size: int) -> Any:
    """An output of ``size`` bytes with a 77 behind it."""
    out = ffi.new("uint8_t[]", size + 1)
    out[size] = 77
    return out


def exact(data: bytes) -> Any:
    """An input that the sanitizers guard on both sides."""
    KEEP.append(ffi.new("uint8_t[]", len(data)))
    ffi.memmove(KEEP[-1], data, len(data))
    return KEEP[-1]


def fields(data: bytes, d: int) -> list[int]:
    """ByteDecode_d against the integers."""
    whole = int.from_bytes(data, "little")
    return [whole >> d * i & (1 << d) - 1 for i in range(256)]


def test_encode12(unit: Any) -> None:
    """ByteDecode_12 against the integers, and ByteEncode_12 as its inverse."""
    data = random.Random(5).randbytes(384)
    p, out = poly(), guarded(384)
    unit.decode12(p, exact(data))
    assert coefficients(p) == fields(data, 12)
    unit.encode12(out, p)
    assert bytes(out) == data + b"M"


@pytest.mark.parametrize("d", [4, 5, 10, 11])
def test_compress(unit: Any, d: int) -> None:
    """Compress_d of every value of 16 bits, and Decompress_d of random fields."""
    rng = random.Random(6)
    for start in range(-(1 << 15), 1 << 15, 256):
        a = [rng.randrange(max(-(1 << 15), x - 3000), x + 1) for x in range(start, start + 256)]
        b = [x - y for x, y in zip(range(start, start + 256), a, strict=True)]
        out = guarded(32 * d)
        unit.compress(out, poly(a), poly(b), d)
        want = [(2 * (x << d) + Q) // (2 * Q) % (1 << d) for x in range(start, start + 256)]
        assert fields(bytes(out)[:-1], d) == want
        assert out[32 * d] == 77
        KEEP.clear()
    data, p = rng.randbytes(32 * d), poly()
    unit.decompress(p, exact(data), d)
    want = [(2 * y * Q + (1 << d)) >> (d + 1) for y in fields(data, d)]
    assert coefficients(p) == want


def test_messages(unit: Any) -> None:
    """Bits become multiples of (q + 1) / 2; differences of 16 bits become bits."""
    m = random.Random(7).randbytes(32)
    p = poly([i % 5 - 2 for i in range(256)])
    unit.add_message(p, exact(m))
    assert coefficients(p) == [i % 5 - 2 + 1665 * bit for i, bit in enumerate(fields(m, 1))]
    for start in range(-(1 << 14), 1 << 14, 256):
        v = [x // 2 for x in range(start, start + 256)]
        w = [x // 2 - x for x in range(start, start + 256)]
        out = guarded(32)
        unit.get_message(out, poly(v), poly(w))
        want = [(4 * x + Q) // (2 * Q) % 2 for x in range(start, start + 256)]
        assert fields(bytes(out)[:32], 1) == want
        assert out[32] == 77
        KEEP.clear()


# ---- Sampling and comparison -------------------------------------------------------------------


def test_rejection(unit: Any) -> None:
    """The same coefficients from the same bytes, from any start, up to 256 and no further."""
    rng = random.Random(8)
    for trial in range(200):
        size = rng.choice((24, 168, 504))
        data = rng.randbytes(size)
        if trial % 3 == 0:
            data = bytes(rng.choice((0xFF, 0x0D, 0xD0)) for _ in range(size))
        have = rng.choice((0, 1, 100, 200, 240, 254, 255))
        got, guard = aligned("poly", 2), [trial] * 256
        got[1].c = guard
        n = unit.reject_uniform(got, have, exact(data), size)
        whole = int.from_bytes(data, "little")
        candidates = [whole >> 12 * i & 0xFFF for i in range(size * 2 // 3)]
        accepted = [x for x in candidates if x < Q]
        assert n == min(256, have + len(accepted))
        assert coefficients(got)[have:n] == accepted[: n - have]
        assert list(got[1].c) == guard
        KEEP.clear()


@pytest.mark.parametrize("eta", [2, 3])
def test_cbd(unit: Any, eta: int) -> None:
    """SamplePolyCBD against the bits."""
    for data in (random.Random(9).randbytes(64 * eta), bytes(64 * eta), b"\xff" * 64 * eta):
        p, whole = poly(), int.from_bytes(data, "little")
        getattr(unit, f"cbd{eta}")(p, exact(data))
        bits = [whole >> i & 1 for i in range(512 * eta)]
        parts = [bits[2 * eta * i :] for i in range(256)]
        assert coefficients(p) == [sum(x[:eta]) - sum(x[eta : 2 * eta]) for x in parts]


@pytest.mark.parametrize("size", [768, 1088, 1568])
def test_differ(unit: Any, size: int) -> None:
    """Any one bit makes a difference, none does not."""
    a = random.Random(10).randbytes(size)
    assert unit.differ(exact(a), exact(a), size) == 0
    for at in range(size):
        b = bytearray(a)
        b[at] ^= 1 << at % 8
        assert unit.differ(exact(a), exact(bytes(b)), size) != 0
        KEEP.clear()
