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

static inline void store(void *p, vec x)
{
    _mm512_store_si512(p, x);
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
    const vec low23 = _mm512_set1_epi32(0x7fffff), q = _mm512_set1_epi32(MLDSA_Q);
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
    .ntt = mldsa_ntt_avx512,
    .intt = mldsa_intt_avx512,
    .dot = mldsa_dot_avx512,
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
    .pack_z = mldsa_pack_z_avx2,
    .pack_w1 = mldsa_pack_w1_avx2,
    .pack_t1 = mldsa_pack_t1_avx2,
    .unpack_t1 = mldsa_unpack_t1_avx2,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mldsa_avx512_is_empty; /* a translation unit needs a declaration */
#endif
