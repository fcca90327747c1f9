/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of ML-KEM in the NTT domain with AVX-512, 32 coefficients at a time. */
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

#include "mlkem_poly.h"
#include "mlkem_x86.h"

typedef __m512i vec;
enum { LANES = 32 };
#define load(p) _mm512_load_si512(p)
#define store(p, x) _mm512_store_si512(p, x)
#define add(a, b) _mm512_add_epi16(a, b)
#define sub(a, b) _mm512_sub_epi16(a, b)
#define mullo(a, b) _mm512_mullo_epi16(a, b)
#define mulhi(a, b) _mm512_mulhi_epi16(a, b)
#define min_unsigned(a, b) _mm512_min_epu16(a, b)
#define set1(x) _mm512_set1_epi16(x)
#define add32(a, b) _mm512_add_epi32(a, b)
#define madd(a, b) _mm512_madd_epi16(a, b)
#define shift_up(x) _mm512_slli_epi32(x, 16)
#define shift_down(x) _mm512_srli_epi32(x, 16)
#define odd_from(a, b) _mm512_mask_blend_epi16(0xaaaaaaaa, a, b)

static inline vec opaque(int16_t x)
{
    vec v = set1(x);
    __asm__("" : "+v"(v));
    return v;
}

static inline void split16(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_shuffle_i64x2(x, y, 0x44);
    *b = _mm512_shuffle_i64x2(x, y, 0xee);
}

static inline void split8(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_permutex2var_epi64(x, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), y);
    *b = _mm512_permutex2var_epi64(x, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), y);
}

static inline void split4(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_unpacklo_epi64(x, y);
    *b = _mm512_unpackhi_epi64(x, y);
}

static inline void split2(vec *a, vec *b)
{
    const vec x = *a, y = *b;
    *a = _mm512_mask_shuffle_epi32(x, 0xaaaa, y, _MM_PERM_CCAA);
    *b = _mm512_mask_shuffle_epi32(y, 0x5555, x, _MM_PERM_DDBB);
}

/* From the order of layer len = 2 to the natural one, and back. */
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

#include "mlkem_ntt_x86.h"

void mlkem_ntt_avx512(mlkem_poly *p)
{
    ntt_lanes(p);
}

void mlkem_intt_avx512(mlkem_poly *p)
{
    intt_lanes(p);
}

void mlkem_prepare_avx512(mlkem_factor *f, const mlkem_poly *b)
{
    prepare_lanes(f, b);
}

void mlkem_dot_avx512(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_factor *b,
                      unsigned k)
{
    dot_lanes(r, a, stride, b, k);
}

void mlkem_finish_avx512(mlkem_poly *t, const mlkem_poly *e)
{
    finish_lanes(t, e);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mlkem_ntt_avx512_is_empty; /* a translation unit needs a declaration */
#endif
