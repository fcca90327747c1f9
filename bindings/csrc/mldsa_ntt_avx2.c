/* SPDX-License-Identifier: Apache-2.0 */
/* The NTT of FIPS 204 section 7.5 with AVX2, 8 coefficients at a time. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif

#include <immintrin.h>

#include "mldsa_poly.h"
#include "mldsa_x86.h"

typedef __m256i vec;

static inline vec load(const void *p)
{
    return _mm256_load_si256(p);
}

static inline void store(void *p, vec x)
{
    _mm256_store_si256(p, x);
}

/* ---- Products ------------------------------------------------------------------------------ */

/* Powers of zeta, and what estimates the quotient of a product with them by q. */
typedef struct {
    vec zeta, quotient;
} factor;

/* The upper halves of the 64-bit lanes of even, and of odd, in turn. */
static inline vec upper_halves(vec even, vec odd)
{
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}

/* q in each lane, but the compiler does not see that it is a constant: it would make shifts and
 * sums of the products with q, which take longer. */
static inline vec modulus(void)
{
    vec q = _mm256_set1_epi32(MLDSA_Q);
    __asm__("" : "+x"(q));
    return q;
}

/* mldsa_times_zeta in each lane; the quotients of even and of odd lanes apart. odd has the
 * factors of the odd lanes in the even ones. */
static inline vec multiply_lanes(vec a, factor f, vec odd, vec q)
{
    const vec quotient = upper_halves(_mm256_mul_epi32(a, f.quotient),
                                      _mm256_mul_epi32(_mm256_srli_epi64(a, 32), odd));
    return _mm256_sub_epi32(_mm256_mullo_epi32(a, f.zeta), _mm256_mullo_epi32(quotient, q));
}

static inline vec multiply(vec a, factor f, vec q)
{
    return multiply_lanes(a, f, _mm256_srli_epi64(f.quotient, 32), q);
}

/* The same with a factor that is one number. */
static inline vec multiply_by_one(vec a, factor f, vec q)
{
    return multiply_lanes(a, f, f.quotient, q);
}

/* The upper half of a 64-bit sum s of products minus that of m*q, m = s*q^-1 mod 2^32. */
static inline vec reduce(vec even, vec odd, vec q)
{
    const vec qinv = _mm256_set1_epi32(MLDSA_QINV);
    const vec m_even = _mm256_mul_epi32(_mm256_mul_epi32(even, qinv), q);
    const vec m_odd = _mm256_mul_epi32(_mm256_mul_epi32(odd, qinv), q);
    return upper_halves(_mm256_sub_epi64(even, m_even), _mm256_sub_epi64(odd, m_odd));
}

static inline factor zeta(unsigned k)
{
    return (factor){_mm256_set1_epi32(mldsa_zetas[k]), _mm256_set1_epi32(mldsa_zetas_quotient[k])};
}

static inline vec gather(const int32_t *p, vec index)
{
    return _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)p), index);
}

/* zetas[k + index] in each lane. */
static inline factor zetas(unsigned k, vec index)
{
    return (factor){gather(mldsa_zetas + k, index), gather(mldsa_zetas_quotient + k, index)};
}

static inline factor zetas_in_order(unsigned k)
{
    return (factor){load(mldsa_zetas + k), load(mldsa_zetas_quotient + k)};
}

/* ---- Shuffles between the layers within two vectors ------------------------------------------ */

/* In layer len <= 4 the butterflies of 16 neighbouring coefficients take a from one vector and b
 * from another, blocks in their natural order. Each split halves the blocks and undoes itself. */
static inline void split4(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm256_permute2x128_si256(x, y, 0x20);
    *b = _mm256_permute2x128_si256(x, y, 0x31);
}

static inline void split2(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm256_unpacklo_epi64(x, y);
    *b = _mm256_unpackhi_epi64(x, y);
}

static inline void split1(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm256_blend_epi32(x, _mm256_slli_epi64(y, 32), 0xaa);
    *b = _mm256_blend_epi32(_mm256_srli_epi64(x, 32), y, 0xaa);
}

/* From the order of layer len = 1 to the natural one, and back. */
static inline void join(vec *a, vec *b)
{
    const vec x = _mm256_unpacklo_epi32(*a, *b), y = _mm256_unpackhi_epi32(*a, *b);
    *a = x;
    *b = y;
    split4(a, b);
}

static inline void unjoin(vec *a, vec *b)
{
    split4(a, b);
    const __m256 x = _mm256_castsi256_ps(*a), y = _mm256_castsi256_ps(*b);
    *a = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88));
    *b = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd));
}

#define RUN4 _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)
#define RUN2 _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)
/* For the inverse, whose blocks come in reverse order. */
#define BACK4 _mm256_setr_epi32(1, 1, 1, 1, 0, 0, 0, 0)
#define BACK2 _mm256_setr_epi32(3, 3, 2, 2, 1, 1, 0, 0)
#define BACK1 _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0)

/* ---- NTT ------------------------------------------------------------------------------------- */

static inline void butterfly(vec *a, vec *b, vec t)
{
    *b = _mm256_sub_epi32(*a, t);
    *a = _mm256_add_epi32(*a, t);
}

/* Algorithm 41. Three layers on eight vectors that lie 32 coefficients apart, then five within 32
 * neighbours. Each layer adds at most 1.01q to the absolute value, so |c| < 9.1q at the end. */
void mldsa_ntt_avx2(mldsa_poly *p)
{
    const vec q = modulus();
    for (unsigned i = 0; i < 32; i += 8) {
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
        vec x[4];
        for (unsigned j = 0; j < 4; j++)
            x[j] = load(p->c + 32 * i + 8 * j);
        butterfly(&x[0], &x[2], multiply_by_one(x[2], zeta(8 + i), q));
        butterfly(&x[1], &x[3], multiply_by_one(x[3], zeta(8 + i), q));
        /* Two pairs of vectors side by side: the latency of one is the time of the other. */
        vec *const a[2] = {&x[0], &x[2]}, *const b[2] = {&x[1], &x[3]};
        for (unsigned j = 0; j < 2; j++)
            butterfly(a[j], b[j], multiply_by_one(*b[j], zeta(16 + 2 * i + j), q));
        for (unsigned j = 0; j < 2; j++) {
            split4(a[j], b[j]);
            butterfly(a[j], b[j], multiply(*b[j], zetas(32 + 4 * i + 2 * j, RUN4), q));
        }
        for (unsigned j = 0; j < 2; j++) {
            split2(a[j], b[j]);
            butterfly(a[j], b[j], multiply(*b[j], zetas(64 + 8 * i + 4 * j, RUN2), q));
        }
        for (unsigned j = 0; j < 2; j++) {
            split1(a[j], b[j]);
            butterfly(a[j], b[j], multiply(*b[j], zetas_in_order(128 + 16 * i + 8 * j), q));
        }
        for (unsigned j = 0; j < 2; j++)
            join(a[j], b[j]);
        for (unsigned j = 0; j < 4; j++)
            store(p->c + 32 * i + 8 * j, x[j]);
    }
}

/* One butterfly of algorithm 42 with zeta^-1 = -zeta of the mirrored place: b = (b - a) * zeta. */
static inline void unbutterfly(vec *a, vec *b, factor f, vec q)
{
    const vec difference = _mm256_sub_epi32(*b, *a);
    *a = _mm256_add_epi32(*a, *b);
    *b = multiply(difference, f, q);
}

static inline void unbutterfly_by_one(vec *a, vec *b, factor f, vec q)
{
    const vec difference = _mm256_sub_epi32(*b, *a);
    *a = _mm256_add_epi32(*a, *b);
    *b = multiply_by_one(difference, f, q);
}

/* Algorithm 42. Sums double in each of eight layers and end below 256q < 2^31. */
void mldsa_intt_avx2(mldsa_poly *p)
{
    const vec q = modulus();
    const vec last = _mm256_set1_epi32(MLDSA_INTT_FACTOR);
    for (unsigned i = 0; i < 8; i++) {
        vec x[4];
        vec *const a[2] = {&x[0], &x[2]}, *const b[2] = {&x[1], &x[3]};
        for (unsigned j = 0; j < 4; j++)
            x[j] = load(p->c + 32 * i + 8 * j);
        for (unsigned j = 0; j < 2; j++) {
            unjoin(a[j], b[j]);
            unbutterfly(a[j], b[j], zetas(248 - 16 * i - 8 * j, BACK1), q);
        }
        for (unsigned j = 0; j < 2; j++) {
            split1(a[j], b[j]);
            unbutterfly(a[j], b[j], zetas(124 - 8 * i - 4 * j, BACK2), q);
        }
        for (unsigned j = 0; j < 2; j++) {
            split2(a[j], b[j]);
            unbutterfly(a[j], b[j], zetas(62 - 4 * i - 2 * j, BACK4), q);
        }
        for (unsigned j = 0; j < 2; j++) {
            split4(a[j], b[j]);
            unbutterfly_by_one(a[j], b[j], zeta(31 - 2 * i - j), q);
        }
        unbutterfly_by_one(&x[0], &x[2], zeta(15 - i), q);
        unbutterfly_by_one(&x[1], &x[3], zeta(15 - i), q);
        for (unsigned j = 0; j < 4; j++)
            store(p->c + 32 * i + 8 * j, x[j]);
    }
    for (unsigned i = 0; i < 32; i += 8) {
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
            store(p->c + 32 * j + i, reduce(_mm256_mul_epi32(x[j], last),
                                                 _mm256_mul_epi32(_mm256_srli_epi64(x[j], 32), last), q));
    }
}

/* Algorithms 45 and 46: 64-bit sums of products, even and odd lanes apart, one reduction. */
void mldsa_dot_avx2(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n)
{
    const vec q = modulus();
    for (unsigned j = 0; j < MLDSA_N; j += 16) {
        vec even[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        vec odd[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (unsigned i = 0; i < n; i++) {
            for (unsigned m = 0; m < 2; m++) {
                const vec x = load(a[i].c + j + 8 * m), y = load(b[i].c + j + 8 * m);
                const vec e = _mm256_mul_epi32(x, y);
                const vec o = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(y, 32));
                even[m] = _mm256_add_epi64(even[m], e);
                odd[m] = _mm256_add_epi64(odd[m], o);
            }
        }
        for (unsigned m = 0; m < 2; m++)
            store(r->c + j + 8 * m, reduce(even[m], odd[m], q));
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mldsa_ntt_avx2_is_empty; /* a translation unit needs a declaration */
#endif
