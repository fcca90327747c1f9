/* SPDX-License-Identifier: Apache-2.0 */
/* The portable unit of ML-DSA: the inner loops of FIPS 204 in plain C. */
#include "bytes.h"
#include "ct.h"
#include "mldsa_elementwise.h"
#include "mldsa_poly.h"
#include "qpher_native.h"

/* The fraction of (2^32 / 256 mod q) / q: what the NTT and the Montgomery products left. */
#define INTT_FRACTION UINT64_C(36059609135859215)

/* a * x mod+- q, where fraction = floor(x * 2^64 / q) + 1 modulo 2^64: their product modulo 2^64 is
 * the fraction of a*x/q, and q times that is the remainder. What the lower half of the product and
 * the error of fraction add, below q / 2^31, the rounding takes away. Any a; |r| <= (q + 1) / 2. */
static inline int32_t times(int32_t a, uint64_t fraction)
{
    const int64_t product = (int64_t)((uint64_t)(int64_t)a * fraction);
    return (int32_t)(((product >> 32) * MLDSA_Q + ((int64_t)1 << 31)) >> 32);
}

static inline void butterfly(int32_t *a, int32_t *b, uint64_t zeta)
{
    const int32_t t = times(*b, zeta);
    *b = *a - t;
    *a += t;
}

/* Algorithm 41, two layers at a time: of blocks of 4*len, and of their halves. Each of the eight
 * layers adds at most q/2 to the absolute value, so |c| < 5q at the end. */
static void ntt(mldsa_poly *a)
{
    for (unsigned len = 64, k = 1; len >= 1; len /= 4, k *= 4) {
        for (unsigned i = 0; i < k; i++) {
            const uint64_t zeta = mldsa_zetas_fraction[k + i],
                           *const halves = &mldsa_zetas_fraction[2 * (k + i)];
            int32_t *const x = a->c + 4 * len * i;
            for (unsigned j = 0; j < len; j++) {
                /* Copies: the compiler cannot know that the four places differ. */
                int32_t x0 = x[j], x1 = x[j + len], x2 = x[j + 2 * len], x3 = x[j + 3 * len];
                butterfly(&x0, &x2, zeta);
                butterfly(&x1, &x3, zeta);
                butterfly(&x0, &x1, halves[0]);
                butterfly(&x2, &x3, halves[1]);
                x[j] = x0;
                x[j + len] = x1;
                x[j + 2 * len] = x2;
                x[j + 3 * len] = x3;
            }
        }
    }
}

static inline void unbutterfly(int32_t *a, int32_t *b, uint64_t zeta)
{
    const int32_t difference = *b - *a;
    *a += *b;
    *b = times(difference, zeta);
}

/* Algorithm 42, two layers at a time. Products are below q and sums are not reduced: they double
 * in each layer and end below 256q < 2^31, the differences too. zeta^-1 is -zeta of the mirrored
 * place. */
static void intt(mldsa_poly *a)
{
    for (unsigned len = 1, k = 64; k >= 1; len *= 4, k /= 4) {
        for (unsigned i = 0; i < k; i++) {
            const uint64_t zeta = mldsa_zetas_fraction[2 * k - 1 - i],
                           *const halves = &mldsa_zetas_fraction[4 * k - 2 - 2 * i];
            int32_t *const x = a->c + 4 * len * i;
            for (unsigned j = 0; j < len; j++) {
                int32_t x0 = x[j], x1 = x[j + len], x2 = x[j + 2 * len], x3 = x[j + 3 * len];
                unbutterfly(&x0, &x1, halves[1]);
                unbutterfly(&x2, &x3, halves[0]);
                unbutterfly(&x0, &x2, zeta);
                unbutterfly(&x1, &x3, zeta);
                x[j] = x0;
                x[j + len] = x1;
                x[j + 2 * len] = x2;
                x[j + 3 * len] = x3;
            }
        }
    }
    for (unsigned j = 0; j < MLDSA_N; j++)
        a->c[j] = times(a->c[j], INTT_FRACTION);
}

/* Algorithms 45 and 46, several products for one reduction. */
static void dot(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n)
{
    for (unsigned j = 0; j < MLDSA_N; j += 4) {
        int64_t sum[4] = {0};
        for (unsigned i = 0; i < n; i++)
            for (unsigned m = 0; m < 4; m++)
                sum[m] += (int64_t)a[i].c[j + m] * b[i].c[j + m];
        for (unsigned m = 0; m < 4; m++)
            r->c[j + m] = mldsa_montgomery(sum[m]);
    }
}

/* Algorithm 30 with algorithm 14 (CoeffFromThreeBytes); A is public. */
static unsigned reject_uniform(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len)
{
    for (unsigned i = 0; i < len && have < MLDSA_N; i += 3) {
        const int32_t z = (int32_t)(load24_le(in + i) & 0x7fffff);
        r->c[have] = z; /* overwritten unless accepted */
        have += z < MLDSA_Q;
    }
    return have;
}

/* Algorithm 31 with algorithm 15 (CoeffFromHalfByte). Which half-bytes are rejected is public
 * (see mldsa_sample.c), but no branch or index depends on their values. */
static unsigned reject_eta(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len,
                           unsigned eta)
{
    const uint32_t limit = eta == 2 ? 15 : 9;
    for (unsigned i = 0; i < 2 * len && have < MLDSA_N; i++) {
        const uint32_t half = in[i / 2] >> 4 * (i % 2) & 15u;
        uint32_t accept = (half - limit) >> 31;
        /* half mod 5 = half - 5 * floor(half / 5), by 13/64, which is exact below 16. */
        const uint32_t value = eta == 2 ? half - 5 * (half * 13 >> 6) : half;
        r->c[have] = (int32_t)eta - (int32_t)value;
        QPHER_CT_DECLASSIFY(&accept, sizeof accept);
        have += accept;
    }
    return have;
}

/* Algorithm 19 for a = gamma1 - 1, b = gamma1. */
static void unpack_z(mldsa_poly *r, const uint8_t *in, unsigned bits)
{
    const int32_t gamma1 = (int32_t)1 << (bits - 1);
    if (bits == 20) {
        for (unsigned i = 0; i < MLDSA_N; i += 2, in += 5) {
            r->c[i] = gamma1 - (int32_t)(load24_le(in) & 0xfffff);
            r->c[i + 1] = gamma1 - (int32_t)(load24_le(in + 2) >> 4);
        }
        return;
    }
    for (unsigned i = 0; i < MLDSA_N; i += 4, in += 9)
        for (unsigned j = 0; j < 4; j++)
            r->c[i + j] = gamma1 - (int32_t)(load24_le(in + 2 * j) >> 2 * j & 0x3ffff);
}

/* Algorithm 17 for a = gamma1 - 1, b = gamma1. */
static void pack_z(uint8_t *out, const mldsa_poly *z, unsigned bits)
{
    const uint32_t gamma1 = (uint32_t)1 << (bits - 1);
    if (bits == 20) {
        for (unsigned i = 0; i < MLDSA_N; i += 2, out += 5) {
            const uint32_t a = gamma1 - (uint32_t)z->c[i], b = gamma1 - (uint32_t)z->c[i + 1];
            store32_le(out, a | b << 20);
            out[4] = (uint8_t)(b >> 12);
        }
        return;
    }
    for (unsigned i = 0; i < MLDSA_N; i += 4, out += 9) {
        const uint32_t a = gamma1 - (uint32_t)z->c[i], b = gamma1 - (uint32_t)z->c[i + 1],
                       c = gamma1 - (uint32_t)z->c[i + 2], d = gamma1 - (uint32_t)z->c[i + 3];
        store32_le(out, a | b << 18);
        store32_le(out + 4, b >> 14 | c << 4 | d << 22);
        out[8] = (uint8_t)(d >> 10);
    }
}

static void pack_w1(uint8_t *out, const uint8_t w1[MLDSA_N], unsigned bits)
{
    if (bits == 4) {
        for (unsigned i = 0; i < MLDSA_N / 2; i++)
            out[i] = (uint8_t)(w1[2 * i] | w1[2 * i + 1] << 4);
        return;
    }
    for (unsigned i = 0; i < MLDSA_N; i += 4, out += 3) {
        out[0] = (uint8_t)(w1[i] | w1[i + 1] << 6);
        out[1] = (uint8_t)(w1[i + 1] >> 2 | w1[i + 2] << 4);
        out[2] = (uint8_t)(w1[i + 2] >> 4 | w1[i + 3] << 2);
    }
}

static void pack_t1(uint8_t out[MLDSA_T1_BYTES], const mldsa_poly *t1)
{
    for (unsigned i = 0; i < MLDSA_N; i += 4, out += 5) {
        const uint64_t four = (uint64_t)t1->c[i] | (uint64_t)t1->c[i + 1] << 10 |
                              (uint64_t)t1->c[i + 2] << 20 | (uint64_t)t1->c[i + 3] << 30;
        store32_le(out, (uint32_t)four);
        out[4] = (uint8_t)(four >> 32);
    }
}

static void unpack_t1(mldsa_poly *t1, const uint8_t in[MLDSA_T1_BYTES])
{
    for (unsigned i = 0; i < MLDSA_N; i += 4, in += 5) {
        const uint64_t four = load32_le(in) | (uint64_t)in[4] << 32;
        for (unsigned j = 0; j < 4; j++)
            t1->c[i + j] = (int32_t)(four >> 10 * j & 0x3ff);
    }
}

const struct mldsa_unit mldsa_portable = {
    .speculation = 1,
    .ntt = ntt,
    .intt = intt,
    .dot = dot,
    .add = add,
    .exceeds = exceeds,
    .add_short = add_short,
    .power2round = power2round,
    .decompose = decompose,
    .make_hint = make_hint,
    .use_hint = use_hint,
    .reject_uniform = reject_uniform,
    .reject_eta = reject_eta,
    .unpack_z = unpack_z,
    .pack_z = pack_z,
    .pack_w1 = pack_w1,
    .pack_t1 = pack_t1,
    .unpack_t1 = unpack_t1,
};

const struct mldsa_unit *mldsa_unit_for(int path)
{
#if defined(__x86_64__)
    if (path == QPHER_CPU_AVX512)
        return &mldsa_avx512;
    if (path == QPHER_CPU_AVX2)
        return &mldsa_avx2;
#else
    (void)path;
#endif
    return &mldsa_portable;
}
