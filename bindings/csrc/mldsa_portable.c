/* SPDX-License-Identifier: Apache-2.0 */
/* The portable unit of ML-DSA: the inner loops of FIPS 204 in plain C. */
#include "bytes.h"
#include "ct.h"
#include "mldsa_elementwise.h"
#include "mldsa_poly.h"
#include "qpher_native.h"

/* Algorithm 41. Each of the eight layers adds at most 1.01q to the absolute value. */
static void ntt(mldsa_poly *a)
{
    unsigned m = 0;
    for (unsigned len = 128; len >= 1; len /= 2) {
        for (unsigned start = 0; start < MLDSA_N; start += 2 * len) {
            int32_t *const x = a->c + start;
            m++;
            for (unsigned j = 0; j < len; j++) {
                const int32_t t = mldsa_times_zeta(x[j + len], m);
                x[j + len] = x[j] - t;
                x[j] += t;
            }
        }
    }
}

/* Algorithm 42. Products are below 1.25q and sums are not reduced: they double in each layer and
 * end below 256q < 2^31, the differences too. zeta^-1 is -zeta of the mirrored place. */
static void intt(mldsa_poly *a)
{
    unsigned m = MLDSA_N;
    for (unsigned len = 1; len < MLDSA_N; len *= 2) {
        for (unsigned start = 0; start < MLDSA_N; start += 2 * len) {
            int32_t *const x = a->c + start;
            m--;
            for (unsigned j = 0; j < len; j++) {
                const int32_t t = x[j];
                x[j] = t + x[j + len];
                x[j + len] = mldsa_times_zeta(x[j + len] - t, m);
            }
        }
    }
    for (unsigned j = 0; j < MLDSA_N; j++)
        a->c[j] = mldsa_montgomery((int64_t)MLDSA_INTT_FACTOR * a->c[j]);
}

/* Algorithms 45 and 46, several products for one reduction. */
static void dot(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n)
{
    for (unsigned j = 0; j < MLDSA_N; j++) {
        int64_t sum = 0;
        for (unsigned i = 0; i < n; i++)
            sum += (int64_t)a[i].c[j] * b[i].c[j];
        r->c[j] = mldsa_montgomery(sum);
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

const struct mldsa_unit mldsa_portable = {
    .speculation = 1,
    .ntt = ntt,
    .intt = intt,
    .dot = dot,
    .add = add,
    .exceeds = exceeds,
    .power2round = power2round,
    .decompose = decompose,
    .make_hint = make_hint,
    .use_hint = use_hint,
    .reject_uniform = reject_uniform,
    .reject_eta = reject_eta,
    .unpack_z = unpack_z,
    .pack_z = pack_z,
    .pack_w1 = pack_w1,
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
