# SPDX-License-Identifier: Apache-2.0
"""ML-DSA inside: constants recomputed, every unit against the portable one and the integers."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.native.internal import CSRC, load

Q, R = 8380417, 1 << 32
ffi, lib = load("""
typedef struct { int32_t c[256]; } poly;
struct mldsa_unit {
    unsigned speculation;
    void (*ntt)(poly *a);
    void (*intt)(poly *a);
    void (*dot)(poly *r, const poly *a, const poly *b, unsigned n);
    void (*add)(poly *r, const poly *a, const poly *b);
    uint32_t (*exceeds)(const poly *a, int32_t bound);
    uint32_t (*add_short)(poly *r, const int16_t *product, int32_t bound);
    void (*power2round)(poly *t1, poly *t0, const poly *t);
    void (*decompose)(uint8_t *w1, poly *w0, const poly *w, int32_t gamma2);
    unsigned (*make_hint)(uint8_t *h, const poly *w0, const uint8_t *w1, int32_t gamma2);
    void (*use_hint)(uint8_t *w1, const poly *w, const uint8_t *h, int32_t gamma2);
    unsigned (*reject_uniform)(poly *r, unsigned have, const uint8_t *in, unsigned len);
    unsigned (*reject_eta)(poly *r, unsigned have, const uint8_t *in, unsigned len, unsigned eta);
    void (*unpack_z)(poly *r, const uint8_t *in, unsigned bits);
    void (*pack_z)(uint8_t *out, const poly *z, unsigned bits);
    void (*pack_w1)(uint8_t *out, const uint8_t *w1, unsigned bits);
    void (*pack_t1)(uint8_t *out, const poly *t1);
    void (*unpack_t1)(poly *t1, const uint8_t *in);
};
const struct mldsa_unit *mldsa_unit_for(int path);
extern const int32_t mldsa_zetas[256];
extern const int32_t mldsa_zetas_quotient[256];
extern const uint64_t mldsa_zetas_fraction[256];
""")
PATHS = range(lib.qpher_cpu_best() + 1)
GAMMA2 = ((Q - 1) // 88, (Q - 1) // 32)
KEEP: list[Any] = []


@pytest.fixture(params=PATHS, ids=["portable", "avx2", "avx512"].__getitem__)
def unit(request: pytest.FixtureRequest) -> Any:
    """The functions of one code path."""
    return lib.mldsa_unit_for(request.param)


def poly(values: Any = ()) -> Any:
    """A polynomial aligned to 64 bytes."""
    memory = ffi.new("char[]", 1024 + 64)
    KEEP.append(memory)
    address = int(ffi.cast("uintptr_t", memory))
    p = ffi.cast("poly *", address + -address % 64)
    for i, value in enumerate(values):
        p.c[i] = value
    return p


def centered(x: int) -> int:
    """X mod+- q."""
    x %= Q
    return x - Q if x > Q // 2 else x


def coefficients(p: Any) -> list[int]:
    """All 256."""
    return [centered(x) for x in ffi.unpack(p.c, 256)]


# ---- Constants -------------------------------------------------------------------------------


def bit_reversed(k: int) -> int:
    """BitRev8."""
    return int(f"{k:08b}"[::-1], 2)


def fraction(x: int) -> int:
    """The fraction of x / q in 64 bits."""
    return ((x << 64) // Q + 1) % (1 << 64)


def test_zetas() -> None:
    """The tables are what their comments say."""
    zetas = [centered(pow(1753, bit_reversed(k), Q)) for k in range(256)]
    assert list(lib.mldsa_zetas) == zetas
    assert list(lib.mldsa_zetas_fraction) == [fraction(zeta) for zeta in zetas]
    quotients = [(2 * zeta * R + Q) // (2 * Q) for zeta in zetas]
    assert list(lib.mldsa_zetas_quotient) == quotients


def test_constants() -> None:
    """The numbers in mldsa_poly.h."""
    text = (CSRC / "mldsa_poly.h").read_text()
    values = {name: int(value) for name, value in re.findall(r"(MLDSA_\w+) = (-?\d+),", text)}
    assert values["MLDSA_QINV"] * Q % R == 1
    assert (values["MLDSA_INTT_FACTOR"] * 256 - R * R) % Q == 0
    text = (CSRC / "mldsa_portable.c").read_text()
    scale = centered(R * pow(256, -1, Q))
    assert f"INTT_FRACTION UINT64_C({fraction(scale)})" in text


def test_division_by_multiplication() -> None:
    """Decompose's division is exact over its whole range."""
    for gamma2, factor, shift, after in ((GAMMA2[1], 65601, 9, 26), (GAMMA2[0], 11276, 11, 20)):
        for x in range(0, Q + gamma2, 1 << shift):
            assert (x >> shift) * factor < 1 << 31
            assert (x >> shift) * factor >> after == x // (2 * gamma2)


# ---- The ring --------------------------------------------------------------------------------


def slow_product(a: list[int], b: list[int]) -> list[int]:
    """A * b modulo X^256 + 1 and q."""
    result = [0] * 512
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] += x * y
    return [centered(result[i] - result[i + 256]) for i in range(256)]


EXTREMES = [[Q - 1] * 256, [1 - Q] * 256, [(Q - 1) * (-1) ** i for i in range(256)]]


def test_product_through_the_ntt(unit: Any) -> None:
    """NTT, pointwise product and inverse NTT multiply in the ring; the extremes included."""
    rng = random.Random(2)
    inputs = [*EXTREMES, *([rng.randrange(1 - Q, Q) for _ in range(256)] for _ in range(3))]
    for a, b in zip(inputs, reversed(inputs), strict=True):
        x, y, z = poly(a), poly(b), poly()
        unit.ntt(x)
        unit.ntt(y)
        assert max(map(abs, ffi.unpack(x.c, 256))) < 9.1 * Q
        unit.dot(z, x, y, 1)
        assert max(map(abs, ffi.unpack(z.c, 256))) < Q
        unit.intt(z)
        assert max(map(abs, ffi.unpack(z.c, 256))) < Q
        assert coefficients(z) == slow_product(a, b)


def test_ntt_is_the_one_of_the_standard(unit: Any) -> None:
    """Coefficient i of the NTT is the value at zeta^(2 BitRev8(i) + 1)."""
    values = [random.Random(3).randrange(Q) for _ in range(256)]
    p = poly(values)
    unit.ntt(p)
    for i in (0, 1, 2, 3, 7, 8, 15, 16, 100, 255):
        point = pow(1753, 2 * bit_reversed(i) + 1, Q)
        assert coefficients(p)[i] == centered(
            sum(v * pow(point, j, Q) for j, v in enumerate(values))
        )


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 7, 8])
def test_dot(unit: Any, n: int) -> None:
    """Sums of up to eight products at the edge of their range are exact."""
    rng = random.Random(n)
    memory = ffi.new("char[]", 2 * n * 1024 + 64)
    address = int(ffi.cast("uintptr_t", memory))
    a = ffi.cast("poly *", address + -address % 64)
    b, r = a + n, poly()
    for i in range(n):
        for j in range(256):
            a[i].c[j] = Q - 1 if j < 64 else rng.randrange(Q)
            b[i].c[j] = (
                (9 * Q - 1) * (1 if j % 2 else -1) if j < 64 else rng.randrange(-9 * Q, 9 * Q)
            )
    unit.dot(r, a, b, n)
    expected = [
        centered(sum(a[i].c[j] * b[i].c[j] for i in range(n)) * pow(R, -1, Q)) for j in range(256)
    ]
    assert coefficients(r) == expected
    assert max(map(abs, ffi.unpack(r.c, 256))) < Q


# ---- Rounding, over all r --------------------------------------------------------------------


def chunks() -> Iterator[tuple[int, Any]]:
    """Every element of the field, 256 at a time, by both of its representatives."""
    r = poly()
    for start in range(0, Q, 256):
        for i in range(256):
            value = (start + i) % Q
            r.c[i] = value - Q if i % 2 and value else value
        yield start, r


def rounded(unit: Any, r: Any, t1: Any, out: list[Any]) -> list[list[int]]:
    """Power2Round, and for each gamma2 UseHint without and with the hint and LowBits."""
    t0, low, high = out
    unit.power2round(t1, t0, r)
    results = [ffi.unpack(t1.c, 256), [x % Q for x in ffi.unpack(t0.c, 256)]]
    for gamma2 in GAMMA2:
        for hint in (ZEROS, ONES):
            unit.use_hint(high, r, hint, gamma2)
            results.append(list(ffi.buffer(high)[:]))
        unit.decompose(high, low, r, gamma2)
        assert list(ffi.buffer(high)[:]) == results[-2]
        results.append(ffi.unpack(low.c, 256))
    return results


ZEROS, ONES = bytes(256), bytes([1] * 256)


def test_field_operations() -> None:
    """The digest of CCTV over every element of the field comes out."""
    unit, total = lib.mldsa_unit_for(0), hashlib.shake_128()
    t1, out = poly(), [poly(), poly(), ffi.new("uint8_t[256]")]
    for start, r in chunks():
        count = min(256, Q - start)
        a1, a0, *uses = rounded(unit, r, t1, out)
        lines: list[int] = []
        for i in range(count):
            c, low88, low32 = centered(start + i), uses[2][i], uses[5][i]
            lines += (c, abs(c), a1[i], a0[i], uses[0][i], uses[1][i], low88, abs(low88),
                      uses[3][i], uses[4][i], low32, abs(low32))  # fmt: skip
        total.update((b"%d\n" * len(lines)) % tuple(lines))
    expected = "f930663417278156ab05d940294a77210a809c924d8ab63ec72f4526247602c7"
    assert total.digest(32).hex() == expected


@pytest.mark.parametrize("path", PATHS[1:])
def test_field_operations_of_other_units(path: int) -> None:
    """Every unit rounds every element of the field as the portable one does."""
    portable, other = lib.mldsa_unit_for(0), lib.mldsa_unit_for(path)
    polys = [[poly() for _ in range(4)] for _ in range(2)]
    highs = [[ffi.new("uint8_t[256]") for _ in range(4)] for _ in range(2)]
    for _, r in chunks():
        for unit, p, h in zip((portable, other), polys, highs, strict=True):
            unit.power2round(p[0], p[1], r)
            for g, gamma2 in enumerate(GAMMA2):
                unit.decompose(h[2 * g], p[2 + g], r, gamma2)
                unit.use_hint(h[2 * g + 1], r, ONES, gamma2)
        for i in range(4):
            assert ffi.buffer(polys[0][i])[:] == ffi.buffer(polys[1][i])[:]
            assert ffi.buffer(highs[0][i])[:] == ffi.buffer(highs[1][i])[:]


@pytest.mark.parametrize("gamma2", GAMMA2)
def test_make_hint(unit: Any, gamma2: int) -> None:
    """A hint is set exactly where adding changes the high bits, edges included."""
    rng = random.Random(4)
    count = (Q - 1) // (2 * gamma2)
    edges = [s * gamma2 + d for s in (-1, 1) for d in (-1, 0, 1)] + [0, 2 * gamma2 - 1]
    w0 = [
        edges[i % 8] if i < 128 else rng.randrange(1 - 2 * gamma2, 2 * gamma2) for i in range(256)
    ]
    w1 = [rng.choice((0, count - 1, rng.randrange(count))) for _ in range(256)]
    total = poly([(h * 2 * gamma2 + x) % Q for h, x in zip(w1, w0, strict=True)])
    high, h = ffi.new("uint8_t[256]"), ffi.new("uint8_t[256]")
    unit.decompose(high, poly(), total, gamma2)
    ones = unit.make_hint(h, poly(w0), bytes(w1), gamma2)
    assert list(h) == [int(a != b) for a, b in zip(high, w1, strict=True)]
    assert ones == sum(h)


def test_add_and_exceeds(unit: Any) -> None:
    """Sums are reduced; the bound is exact on both sides and at every place."""
    rng = random.Random(5)
    a = [rng.randrange(1 - Q, Q) for _ in range(256)]
    b = [centered(rng.randrange(-(1 << 21), 1 << 21) - x) for x in a]
    r = poly()
    unit.add(r, poly(a), poly(b))
    assert ffi.unpack(r.c, 256) == [centered(x + y) for x, y in zip(a, b, strict=True)]
    for at in range(256):
        for value, bad in ((1000, True), (-1000, True), (999, False), (-999, False)):
            p = poly([0] * at + [value])
            assert bool(unit.exceeds(p, 1000)) is bad


def test_add_short(unit: Any) -> None:
    """Every product up to beta = 196, by each number that may stand for it modulo 3329."""
    for value in range(-196, 197):
        stands = [x for x in (value - 3329, value, value + 3329) if -832 < x < 4161]
        for x in stands:
            r = poly([70000] * 256)
            assert unit.add_short(r, [x] * 256, 70000 + 197) == 0
            assert set(ffi.unpack(r.c, 256)) == {70000 + value}
    for at in range(256):
        for value, bad in ((10, True), (-10, True), (9, False), (-9, False)):
            p = poly([0] * at + [value])
            assert bool(unit.add_short(p, [0] * 256, 10)) is bad


# ---- Sampling and packing: every unit as the portable one --------------------------------------

REFERENCE = lib.mldsa_unit_for(0)


def test_rejection(unit: Any) -> None:
    """The same coefficients from the same bytes, from any start, up to 256 and no further."""
    rng = random.Random(6)
    for trial in range(60):
        size = rng.choice((168, 840))
        data = (
            bytes(rng.choice((rng.randrange(256), 255)) for _ in range(size))
            if trial % 2
            else rng.randbytes(size)
        )
        have = rng.choice((0, 1, 100, 200, 250, 255))
        got, want = poly([0] * 256), poly([0] * 256)
        n = unit.reject_uniform(got, have, data, size)
        assert n == REFERENCE.reject_uniform(want, have, data, size)
        assert ffi.unpack(got.c, 256)[have:n] == ffi.unpack(want.c, 256)[have:n]
        for eta in (2, 4):
            size_eta = rng.choice((136, 272))
            n = unit.reject_eta(got, have, data[:136] * 2, size_eta, eta)
            assert n == REFERENCE.reject_eta(want, have, data[:136] * 2, size_eta, eta)
            assert ffi.unpack(got.c, 256)[have:n] == ffi.unpack(want.c, 256)[have:n]
    KEEP.clear()


@pytest.mark.parametrize("bits", [18, 20])
def test_pack_and_unpack_z(unit: Any, bits: int) -> None:
    """BitUnpack against the integers, and BitPack as its inverse that writes no further."""
    data = random.Random(7).randbytes(32 * bits)
    whole = int.from_bytes(data, "little")
    p = poly()
    unit.unpack_z(p, data, bits)
    fields = [whole >> bits * i & (1 << bits) - 1 for i in range(256)]
    assert ffi.unpack(p.c, 256) == [(1 << bits - 1) - x for x in fields]
    out = ffi.new("uint8_t[]", 32 * bits + 1)
    out[32 * bits] = 77
    unit.pack_z(out, p, bits)
    assert bytes(out) == data + b"M"


@pytest.mark.parametrize("bits", [4, 6])
def test_pack_w1(unit: Any, bits: int) -> None:
    """SimpleBitPack against the integers."""
    w1 = [random.Random(8).randrange(16 if bits == 4 else 44) for _ in range(256)]
    out = ffi.new("uint8_t[]", 32 * bits + 1)
    out[32 * bits] = 77
    unit.pack_w1(out, bytes(w1), bits)
    whole = sum(x << bits * i for i, x in enumerate(w1))
    assert bytes(out)[:-1] == whole.to_bytes(32 * bits, "little")
    assert out[32 * bits] == 77


def test_pack_and_unpack_t1(unit: Any) -> None:
    """Both directions, against integers, within the bytes that they have."""
    values = [0, 1023] * 4 + [random.Random(5).randrange(1024) for _ in range(248)]
    packed = sum(value << 10 * i for i, value in enumerate(values)).to_bytes(320, "little")
    out, p = ffi.new("uint8_t[]", b"\xaa" * 352), poly()
    unit.pack_t1(out, poly(values))
    assert bytes(out)[:320] == packed
    assert set(bytes(out)[320:352]) == {0xAA}
    unit.unpack_t1(p, packed)
    assert ffi.unpack(p.c, 256) == values
