/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of ML-KEM in the NTT domain with AVX2, 16 coefficients at a time. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif

#include <immintrin.h>

#include "mlkem_poly.h"
#include "mlkem_x86.h"

typedef __m256i vec;
enum { LANES = 16 };
#define load(p) _mm256_load_si256((const void *)(p))
#define store(p, x) _mm256_store_si256((void *)(p), x)
#define add(a, b) _mm256_add_epi16(a, b)
#define sub(a, b) _mm256_sub_epi16(a, b)
#define mullo(a, b) _mm256_mullo_epi16(a, b)
#define mulhi(a, b) _mm256_mulhi_epi16(a, b)
#define min_unsigned(a, b) _mm256_min_epu16(a, b)
#define set1(x) _mm256_set1_epi16(x)
#define add32(a, b) _mm256_add_epi32(a, b)
#define madd(a, b) _mm256_madd_epi16(a, b)
#define shift_up(x) _mm256_slli_epi32(x, 16)
#define shift_down(x) _mm256_srli_epi32(x, 16)
#define odd_from(a, b) _mm256_blend_epi16(a, b, 0xaa)

static inline vec opaque(int16_t x)
{
    vec v = set1(x);
    __asm__("" : "+x"(v));
    return v;
}

/* The butterflies of layer len = 16 take one vector each: nothing to split. */
#define split16(a, b)

static inline void split8(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm256_permute2x128_si256(x, y, 0x20);
    *b = _mm256_permute2x128_si256(x, y, 0x31);
}

static inline void split4(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm256_unpacklo_epi64(x, y);
    *b = _mm256_unpackhi_epi64(x, y);
}

static inline void split2(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm256_blend_epi32(x, _mm256_slli_epi64(y, 32), 0xaa);
    *b = _mm256_blend_epi32(_mm256_srli_epi64(x, 32), y, 0xaa);
}

/* From the order of layer len = 2 to the natural one, and back. */
static inline void join(vec *a, vec *b)
{
    const vec x = _mm256_unpacklo_epi32(*a, *b), y = _mm256_unpackhi_epi32(*a, *b);
    *a = _mm256_permute2x128_si256(x, y, 0x20);
    *b = _mm256_permute2x128_si256(x, y, 0x31);
}

static inline void unjoin(vec *a, vec *b)
{
    const __m256 x = _mm256_castsi256_ps(_mm256_permute2x128_si256(*a, *b, 0x20));
    const __m256 y = _mm256_castsi256_ps(_mm256_permute2x128_si256(*a, *b, 0x31));
    *a = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88));
    *b = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd));
}

#include "mlkem_ntt_x86.h"

void mlkem_ntt_avx2(mlkem_poly *p)
{
    ntt_lanes(p);
}

void mlkem_intt_avx2(mlkem_poly *p)
{
    intt_lanes(p);
}

void mlkem_prepare_avx2(mlkem_factor *f, const mlkem_poly *b)
{
    prepare_lanes(f, b);
}

void mlkem_dot_avx2(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_factor *b,
                    unsigned k)
{
    dot_lanes(r, a, stride, b, k);
}

void mlkem_finish_avx2(mlkem_poly *t, const mlkem_poly *e)
{
    finish_lanes(t, e);
}

void mlkem_canonical_avx2(mlkem_poly *p)
{
    const vec q = opaque(MLKEM_Q);
    for (unsigned i = 0; i < MLKEM_N; i += LANES)
        store(p->c + i, canonical_lanes(reduce(load(p->c + i), q), q));
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mlkem_ntt_avx2_is_empty; /* a translation unit needs a declaration */
#endif
