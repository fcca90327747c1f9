/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of ML-DSA for AVX-512: sixteen coefficients at a time, compaction by vpcompressd. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                                    \
    __attribute__((                                                                              \
        target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2"))),     \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2")
#endif

#include <immintrin.h>

#include "ct.h"
#include "mldsa_elementwise.h"
#include "mldsa_poly.h"
#include "mldsa_x86.h"

typedef __m512i vec;

static inline vec load(const void *p)
{
    return _mm512_load_si512(p);
}

static inline void store(void *p, vec x)
{
    _mm512_store_si512(p, x);
}

/* ---- Products ------------------------------------------------------------------------------ */

/* Powers of zeta, and what estimates the quotient of a product with them by q. */
typedef struct {
    vec zeta, quotient;
} factor;

/* The upper halves of the 64-bit lanes of even, and of odd, in turn. */
static inline vec upper_halves(vec even, vec odd)
{
    return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
}

/* q in each lane, but the compiler does not see that it is a constant: it would make shifts and
 * sums of the products with q, which take longer. */
static inline vec modulus(void)
{
    vec q = _mm512_set1_epi32(MLDSA_Q);
    __asm__("" : "+v"(q));
    return q;
}

/* mldsa_times_zeta in each lane; the quotients of even and of odd lanes apart. odd has the
 * factors of the odd lanes in the even ones. */
static inline vec multiply_lanes(vec a, factor f, vec odd, vec q)
{
    const vec quotient = upper_halves(_mm512_mul_epi32(a, f.quotient),
                                      _mm512_mul_epi32(_mm512_srli_epi64(a, 32), odd));
    return _mm512_sub_epi32(_mm512_mullo_epi32(a, f.zeta), _mm512_mullo_epi32(quotient, q));
}

static inline vec multiply(vec a, factor f, vec q)
{
    return multiply_lanes(a, f, _mm512_srli_epi64(f.quotient, 32), q);
}

/* The same with a factor that is one number. */
static inline vec multiply_by_one(vec a, factor f, vec q)
{
    return multiply_lanes(a, f, f.quotient, q);
}

/* The upper half of a 64-bit sum s of products minus that of m*q, m = s*q^-1 mod 2^32. */
static inline vec reduce(vec even, vec odd, vec q)
{
    const vec qinv = _mm512_set1_epi32(MLDSA_QINV);
    const vec m_even = _mm512_mul_epi32(_mm512_mul_epi32(even, qinv), q);
    const vec m_odd = _mm512_mul_epi32(_mm512_mul_epi32(odd, qinv), q);
    return upper_halves(_mm512_sub_epi64(even, m_even), _mm512_sub_epi64(odd, m_odd));
}

static inline factor zeta(unsigned k)
{
    return (factor){_mm512_set1_epi32(mldsa_zetas[k]), _mm512_set1_epi32(mldsa_zetas_quotient[k])};
}

/* zetas[k + lane / run] in each lane. */
static inline factor zetas(unsigned k, vec lane_over_run)
{
    return (factor){_mm512_permutexvar_epi32(lane_over_run, _mm512_loadu_si512(mldsa_zetas + k)),
                    _mm512_permutexvar_epi32(lane_over_run, _mm512_loadu_si512(mldsa_zetas_quotient + k))};
}

static inline factor zetas_in_order(unsigned k)
{
    return (factor){load(mldsa_zetas + k), load(mldsa_zetas_quotient + k)};
}

/* ---- Shuffles between the layers within two vectors ------------------------------------------ */

/* In layer len <= 8 the butterflies of 32 neighbouring coefficients take a from one vector and b
 * from another, blocks in their natural order. Each step splits the blocks in two. */
static inline void split8(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_shuffle_i64x2(x, y, 0x44);
    *b = _mm512_shuffle_i64x2(x, y, 0xee);
}

static inline void split4(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_permutex2var_epi64(x, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), y);
    *b = _mm512_permutex2var_epi64(x, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), y);
}

static inline void split2(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_unpacklo_epi64(x, y);
    *b = _mm512_unpackhi_epi64(x, y);
}

static inline void split1(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_mask_shuffle_epi32(x, 0xaaaa, y, _MM_PERM_CCAA);
    *b = _mm512_mask_shuffle_epi32(y, 0x5555, x, _MM_PERM_DDBB);
}

/* From the order of layer len = 1 to the natural one, and back. */
static inline void join(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_permutex2var_epi32(
        x, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), y);
    *b = _mm512_permutex2var_epi32(
        x, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), y);
}

static inline void unjoin(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_permutex2var_epi32(
        x, _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), y);
    *b = _mm512_permutex2var_epi32(
        x, _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), y);
}

#define RUN8 _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
#define RUN4 _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
#define RUN2 _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
#define RUN1 _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

/* ---- NTT ------------------------------------------------------------------------------------- */

static inline void butterfly(vec *a, vec *b, vec t)
{
    *b = _mm512_sub_epi32(*a, t);
    *a = _mm512_add_epi32(*a, t);
}

/* Algorithm 41. Three layers on eight vectors that lie 32 coefficients apart, then five within 32
 * neighbours. Each layer adds at most 1.01q to the absolute value, so |c| < 9.1q at the end. */
static void ntt(mldsa_poly *p)
{
    const vec q = modulus();
    for (unsigned i = 0; i < 32; i += 16) {
        vec x[8];
        for (unsigned j = 0; j < 8; j++)
            x[j] = load(p->c + 32 * j + i);
        for (unsigned j = 0; j < 4; j++)
            butterfly(&x[j], &x[j + 4], multiply_by_one(x[j + 4], zeta(1), q));
        for (unsigned j = 0; j < 8; j += 4)
            for (unsigned m = j; m < j + 2; m++)
                butterfly(&x[m], &x[m + 2], multiply_by_one(x[m + 2], zeta(2 + j / 4), q));
        for (unsigned j = 0; j < 8; j += 2)
            butterfly(&x[j], &x[j + 1], multiply_by_one(x[j + 1], zeta(4 + j / 2), q));
        for (unsigned j = 0; j < 8; j++)
            store(p->c + 32 * j + i, x[j]);
    }
    for (unsigned i = 0; i < 8; i++) {
        vec a = load(p->c + 32 * i), b = load(p->c + 32 * i + 16);
        butterfly(&a, &b, multiply_by_one(b, zeta(8 + i), q));
        split8(&a, &b);
        butterfly(&a, &b, multiply(b, zetas(16 + 2 * i, RUN8), q));
        split4(&a, &b);
        butterfly(&a, &b, multiply(b, zetas(32 + 4 * i, RUN4), q));
        split2(&a, &b);
        butterfly(&a, &b, multiply(b, zetas(64 + 8 * i, RUN2), q));
        split1(&a, &b);
        butterfly(&a, &b, multiply(b, zetas_in_order(128 + 16 * i), q));
        join(&a, &b);
        store(p->c + 32 * i, a);
        store(p->c + 32 * i + 16, b);
    }
}

/* One butterfly of algorithm 42 with zeta^-1 = -zeta of the mirrored place: b = (b - a) * zeta. */
static inline void unbutterfly(vec *a, vec *b, factor f, vec q)
{
    const vec difference = _mm512_sub_epi32(*b, *a);
    *a = _mm512_add_epi32(*a, *b);
    *b = multiply(difference, f, q);
}

static inline void unbutterfly_by_one(vec *a, vec *b, factor f, vec q)
{
    const vec difference = _mm512_sub_epi32(*b, *a);
    *a = _mm512_add_epi32(*a, *b);
    *b = multiply_by_one(difference, f, q);
}

/* Factors of the inverse layers: the blocks come in reverse order, so lanes read backwards. */
static inline factor zetas_back(unsigned last, unsigned n, vec lane_over_run)
{
    const vec from_end = _mm512_sub_epi32(_mm512_set1_epi32((int)n - 1), lane_over_run);
    return zetas(last + 1 - n, from_end);
}

/* Algorithm 42. Sums double in each of eight layers and end below 256q < 2^31. */
static void intt(mldsa_poly *p)
{
    const vec q = modulus();
    const vec last = _mm512_set1_epi32(MLDSA_INTT_FACTOR);
    for (unsigned i = 0; i < 8; i++) {
        vec a = load(p->c + 32 * i), b = load(p->c + 32 * i + 16);
        unjoin(&a, &b);
        unbutterfly(&a, &b, zetas_back(255 - 16 * i, 16, RUN1), q);
        split1(&a, &b); /* each split is its own inverse */
        unbutterfly(&a, &b, zetas_back(127 - 8 * i, 8, RUN2), q);
        split2(&a, &b);
        unbutterfly(&a, &b, zetas_back(63 - 4 * i, 4, RUN4), q);
        split4(&a, &b);
        unbutterfly(&a, &b, zetas_back(31 - 2 * i, 2, RUN8), q);
        split8(&a, &b);
        unbutterfly_by_one(&a, &b, zeta(15 - i), q);
        store(p->c + 32 * i, a);
        store(p->c + 32 * i + 16, b);
    }
    for (unsigned i = 0; i < 32; i += 16) {
        vec x[8];
        for (unsigned j = 0; j < 8; j++)
            x[j] = load(p->c + 32 * j + i);
        for (unsigned j = 0; j < 8; j += 2)
            unbutterfly_by_one(&x[j], &x[j + 1], zeta(7 - j / 2), q);
        for (unsigned j = 0; j < 8; j += 4)
            for (unsigned m = j; m < j + 2; m++)
                unbutterfly_by_one(&x[m], &x[m + 2], zeta(3 - j / 4), q);
        for (unsigned j = 0; j < 4; j++)
            unbutterfly_by_one(&x[j], &x[j + 4], zeta(1), q);
        for (unsigned j = 0; j < 8; j++)
            store(p->c + 32 * j + i, reduce(_mm512_mul_epi32(x[j], last),
                                                 _mm512_mul_epi32(_mm512_srli_epi64(x[j], 32), last), q));
    }
}

/* Algorithms 45 and 46: 64-bit sums of products, even and odd lanes apart, one reduction. */
static void dot(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n)
{
    const vec q = modulus();
    for (unsigned j = 0; j < MLDSA_N; j += 32) {
        vec even[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        vec odd[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (unsigned i = 0; i < n; i++) {
            for (unsigned m = 0; m < 2; m++) {
                const vec x = load(a[i].c + j + 16 * m), y = load(b[i].c + j + 16 * m);
                const vec e = _mm512_mul_epi32(x, y);
                const vec o = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(y, 32));
                even[m] = _mm512_add_epi64(even[m], e);
                odd[m] = _mm512_add_epi64(odd[m], o);
            }
        }
        for (unsigned m = 0; m < 2; m++)
            store(r->c + j + 16 * m, reduce(even[m], odd[m], q));
    }
}

/* ---- Sampling -------------------------------------------------------------------------------- */

/* Stores the lanes of mask, one after the other, from have on, as far as there is room. */
static inline unsigned append(mldsa_poly *r, unsigned have, vec x, __mmask16 mask)
{
    const vec packed = _mm512_maskz_compress_epi32(mask, x);
    const unsigned room = MLDSA_N - have, n = (unsigned)_mm_popcnt_u32(mask);
    if (room >= 16) {
        _mm512_storeu_si512(r->c + have, packed); /* what follows the n is overwritten */
        return have + n;
    }
    _mm512_mask_storeu_epi32(r->c + have, (__mmask16)((1u << room) - 1), packed);
    return n < room ? have + n : MLDSA_N;
}

/* Algorithm 30: sixteen candidates of three bytes. */
static unsigned reject_uniform(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len)
{
    const vec spread = _mm512_set_epi32(
        0x302f2e2d, 0x2f2c2b2a, 0x2c292827, 0x29262524, 0x26232221, 0x23201f1e, 0x201d1c1b,
        0x1d1a1918, 0x1a171615, 0x17141312, 0x1411100f, 0x110e0d0c, 0x0e0b0a09, 0x0b080706,
        0x08050403, 0x05020100);
    const vec low23 = _mm512_set1_epi32(0x7fffff), q = modulus();
    for (unsigned i = 0; i < len && have < MLDSA_N; i += 48) {
        const unsigned bytes = len - i < 48 ? len - i : 48;
        const vec x = _mm512_maskz_loadu_epi8(((__mmask64)1 << bytes) - 1, in + i);
        const vec c = _mm512_and_si512(_mm512_permutexvar_epi8(spread, x), low23);
        const __mmask16 there = (__mmask16)((1u << bytes / 3) - 1);
        have = append(r, have, c, _mm512_mask_cmplt_epi32_mask(there, c, q));
    }
    return have;
}

/* Algorithm 31: sixteen half-bytes. Which of them are accepted is public (mldsa_sample.c). */
static unsigned reject_eta(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len,
                           unsigned eta)
{
    const vec limit = _mm512_set1_epi32(eta == 2 ? 15 : 9), top = _mm512_set1_epi32((int)eta);
    const vec shifts = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4);
    for (unsigned i = 0; i < len && have < MLDSA_N; i += 8) {
        const __m128i bytes = _mm_loadl_epi64((const void *)(in + i));
        const vec twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
        vec half = _mm512_and_si512(_mm512_srlv_epi32(twice, shifts), _mm512_set1_epi32(15));
        __mmask16 accepted = _mm512_cmplt_epi32_mask(half, limit);
        QPHER_CT_DECLASSIFY(&accepted, sizeof accepted);
        if (eta == 2) { /* half mod 5, as half - 5 * floor(13 * half / 64) */
            const vec fifth = _mm512_srli_epi32(_mm512_mullo_epi32(half, _mm512_set1_epi32(13)), 6);
            half = _mm512_sub_epi32(half, _mm512_mullo_epi32(fifth, _mm512_set1_epi32(5)));
        }
        have = append(r, have, _mm512_sub_epi32(top, half), accepted);
    }
    return have;
}

/* Algorithm 19 for z: each field to the bottom of a lane, then gamma1 minus it. */
static void unpack_z(mldsa_poly *r, const uint8_t *in, unsigned bits)
{
    const unsigned bytes = 2 * bits; /* of sixteen coefficients */
    const vec lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const vec first_bit = _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)bits));
    const vec first_byte = _mm512_srli_epi32(first_bit, 3);
    const vec spread = _mm512_add_epi32(
        _mm512_mullo_epi32(first_byte, _mm512_set1_epi32(0x01010101)), _mm512_set1_epi32(0x03020100));
    const vec shift = _mm512_and_si512(first_bit, _mm512_set1_epi32(7));
    const vec field = _mm512_set1_epi32((1 << bits) - 1), top = _mm512_set1_epi32(1 << (bits - 1));
    for (unsigned i = 0; i < MLDSA_N; i += 16, in += bytes) {
        const vec x = _mm512_maskz_loadu_epi8(((__mmask64)1 << bytes) - 1, in);
        const vec y = _mm512_srlv_epi32(_mm512_permutexvar_epi8(spread, x), shift);
        store(r->c + i, _mm512_sub_epi32(top, _mm512_and_si512(y, field)));
    }
}

const struct mldsa_unit mldsa_avx512 = {
    .speculation = 2,
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
    .pack_z = mldsa_pack_z_avx2,
    .pack_w1 = mldsa_pack_w1_avx2,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mldsa_avx512_is_empty; /* a translation unit needs a declaration */
#endif
