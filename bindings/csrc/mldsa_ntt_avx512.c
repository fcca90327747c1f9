/* SPDX-License-Identifier: Apache-2.0 */
/* The NTT of FIPS 204 section 7.5 with AVX-512, 16 coefficients at a time. */
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

/* Pairs of vectors that go through the last layers side by side, so that the latency of one is
 * the time of the others. */
enum { PAIRS = 4 };

static inline void butterfly(vec *a, vec *b, vec t)
{
    *b = _mm512_sub_epi32(*a, t);
    *a = _mm512_add_epi32(*a, t);
}

/* Algorithm 41. Three layers on eight vectors that lie 32 coefficients apart, then five within 32
 * neighbours. Each layer adds at most 1.01q to the absolute value, so |c| < 9.1q at the end. */
void mldsa_ntt_avx512(mldsa_poly *p)
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
    for (unsigned i = 0; i < 8; i += PAIRS) {
        vec a[PAIRS], b[PAIRS];
        for (unsigned j = 0; j < PAIRS; j++) {
            a[j] = load(p->c + 32 * (i + j));
            b[j] = load(p->c + 32 * (i + j) + 16);
            butterfly(&a[j], &b[j], multiply_by_one(b[j], zeta(8 + i + j), q));
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split8(&a[j], &b[j]);
            butterfly(&a[j], &b[j], multiply(b[j], zetas(16 + 2 * (i + j), RUN8), q));
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split4(&a[j], &b[j]);
            butterfly(&a[j], &b[j], multiply(b[j], zetas(32 + 4 * (i + j), RUN4), q));
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split2(&a[j], &b[j]);
            butterfly(&a[j], &b[j], multiply(b[j], zetas(64 + 8 * (i + j), RUN2), q));
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split1(&a[j], &b[j]);
            butterfly(&a[j], &b[j], multiply(b[j], zetas_in_order(128 + 16 * (i + j)), q));
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            join(&a[j], &b[j]);
            store(p->c + 32 * (i + j), a[j]);
            store(p->c + 32 * (i + j) + 16, b[j]);
        }
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
void mldsa_intt_avx512(mldsa_poly *p)
{
    const vec q = modulus();
    const vec last = _mm512_set1_epi32(MLDSA_INTT_FACTOR);
    for (unsigned i = 0; i < 8; i += PAIRS) {
        vec a[PAIRS], b[PAIRS];
        for (unsigned j = 0; j < PAIRS; j++) {
            a[j] = load(p->c + 32 * (i + j));
            b[j] = load(p->c + 32 * (i + j) + 16);
            unjoin(&a[j], &b[j]);
            unbutterfly(&a[j], &b[j], zetas_back(255 - 16 * (i + j), 16, RUN1), q);
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split1(&a[j], &b[j]); /* each split is its own inverse */
            unbutterfly(&a[j], &b[j], zetas_back(127 - 8 * (i + j), 8, RUN2), q);
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split2(&a[j], &b[j]);
            unbutterfly(&a[j], &b[j], zetas_back(63 - 4 * (i + j), 4, RUN4), q);
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split4(&a[j], &b[j]);
            unbutterfly(&a[j], &b[j], zetas_back(31 - 2 * (i + j), 2, RUN8), q);
        }
        for (unsigned j = 0; j < PAIRS; j++) {
            split8(&a[j], &b[j]);
            unbutterfly_by_one(&a[j], &b[j], zeta(15 - i - j), q);
            store(p->c + 32 * (i + j), a[j]);
            store(p->c + 32 * (i + j) + 16, b[j]);
        }
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
void mldsa_dot_avx512(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b,
                      unsigned n)
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

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mldsa_ntt_avx512_is_empty; /* a translation unit needs a declaration */
#endif
