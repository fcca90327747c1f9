/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of ML-DSA for AVX2: eight coefficients at a time, compaction by pdep and pext. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif

#include <immintrin.h>
#include <string.h>

#include "bytes.h"
#include "ct.h"
#include "mldsa_elementwise.h"
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

/* ---- Sampling -------------------------------------------------------------------------------- */

/* Stores the lanes of mask, one after the other, from have on, as far as there is room. */
static inline unsigned append(mldsa_poly *r, unsigned have, vec x, unsigned mask)
{
    /* Byte i of lanes is 0xff where bit i of mask is set; pext gathers the numbers of those. */
    const uint64_t lanes = _pdep_u64(mask, 0x0101010101010101) * 0xff;
    const long long order = (long long)_pext_u64(0x0706050403020100, lanes);
    const vec packed =
        _mm256_permutevar8x32_epi32(x, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(order)));
    const unsigned room = MLDSA_N - have, n = (unsigned)_mm_popcnt_u32(mask);
    int32_t last[8];
    if (room >= 8) {
        _mm256_storeu_si256((void *)(r->c + have), packed); /* what follows the n is overwritten */
        return have + n;
    }
    _mm256_storeu_si256((void *)last, packed);
    memcpy(r->c + have, last, room * sizeof last[0]);
    return n < room ? have + n : MLDSA_N;
}

static inline unsigned lanes_below(vec x, vec limit)
{
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(limit, x)));
}

static inline vec load_two(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
        _mm_loadu_si128((const void *)high), 1);
}

/* Algorithm 30: eight candidates of three bytes. */
static unsigned reject_uniform(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len)
{
    const vec spread = _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 4, 5,
                                        6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    const vec low23 = _mm256_set1_epi32(0x7fffff), q = _mm256_set1_epi32(MLDSA_Q);
    for (unsigned i = 0; i < len && have < MLDSA_N; i += 24) {
        const vec x = load_two(in + i, in + i + 8);
        const vec c = _mm256_and_si256(_mm256_shuffle_epi8(x, spread), low23);
        have = append(r, have, c, lanes_below(c, q));
    }
    return have;
}

/* Algorithm 31: eight half-bytes. Which of them are accepted is public (mldsa_sample.c). */
static unsigned reject_eta(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len,
                           unsigned eta)
{
    const vec limit = _mm256_set1_epi32(eta == 2 ? 15 : 9), top = _mm256_set1_epi32((int)eta);
    const vec shifts = _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4);
    for (unsigned i = 0; i < len && have < MLDSA_N; i += 4) {
        const __m128i bytes = _mm_cvtsi32_si128((int)load32_le(in + i));
        const vec twice = _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
        vec half = _mm256_and_si256(_mm256_srlv_epi32(twice, shifts), _mm256_set1_epi32(15));
        unsigned accepted = lanes_below(half, limit);
        QPHER_CT_DECLASSIFY(&accepted, sizeof accepted);
        if (eta == 2) { /* half mod 5, as half - 5 * floor(13 * half / 64) */
            const vec fifth = _mm256_srli_epi32(_mm256_mullo_epi32(half, _mm256_set1_epi32(13)), 6);
            half = _mm256_sub_epi32(half, _mm256_mullo_epi32(fifth, _mm256_set1_epi32(5)));
        }
        have = append(r, have, _mm256_sub_epi32(top, half), accepted);
    }
    return have;
}

/* ---- Packing --------------------------------------------------------------------------------- */

/* Algorithm 19 for z: four fields in each 128-bit half, each to the bottom of a lane, then gamma1
 * minus it. */
static void unpack_z(mldsa_poly *r, const uint8_t *in, unsigned bits)
{
    const vec spread20 = _mm256_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1, 0, 1,
                                          2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1);
    const vec spread18 = _mm256_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 4, 5, 6, -1, 6, 7, 8, -1, 0, 1,
                                          2, -1, 2, 3, 4, -1, 4, 5, 6, -1, 6, 7, 8, -1);
    const vec spread = bits == 20 ? spread20 : spread18;
    const vec shift = bits == 20 ? _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4)
                                 : _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const vec field = _mm256_set1_epi32((1 << bits) - 1), top = _mm256_set1_epi32(1 << (bits - 1));
    uint8_t last[32] = {0}; /* loads of the last group would reach past the input */
    memcpy(last, in + 31 * (size_t)bits, bits);
    for (unsigned i = 0; i < MLDSA_N; i += 8, in += bits) {
        const uint8_t *from = i + 8 < MLDSA_N ? in : last;
        const vec x = load_two(from, from + bits / 2);
        const vec y = _mm256_srlv_epi32(_mm256_shuffle_epi8(x, spread), shift);
        store(r->c + i, _mm256_sub_epi32(top, _mm256_and_si256(y, field)));
    }
    qpher_wipe(last, sizeof last);
}

/* Algorithm 17 for z: each field moves to its bit in its first byte; a byte of the output is then
 * the union of a byte of the field that begins it and one of the field that ends it, often the
 * same. Four fields in each 128-bit half. */
void mldsa_pack_z_avx2(uint8_t *out, const mldsa_poly *z, unsigned bits)
{
    const __m128i begin20 = _mm_setr_epi8(0, 1, 2, 5, 6, 8, 9, 10, 13, 14, -1, -1, -1, -1, -1, -1);
    const __m128i end20 = _mm_setr_epi8(0, 1, 4, 5, 6, 8, 9, 12, 13, 14, -1, -1, -1, -1, -1, -1);
    const __m128i begin18 = _mm_setr_epi8(0, 1, 2, 5, 6, 9, 10, 13, 14, -1, -1, -1, -1, -1, -1, -1);
    const __m128i end18 = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 14, -1, -1, -1, -1, -1, -1, -1);
    const vec begin = _mm256_broadcastsi128_si256(bits == 20 ? begin20 : begin18);
    const vec end = _mm256_broadcastsi128_si256(bits == 20 ? end20 : end18);
    const vec shift = bits == 20 ? _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4)
                                 : _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const vec top = _mm256_set1_epi32(1 << (bits - 1));
    const size_t half = bits / 2;
    uint8_t last[32]; /* stores of the last group would reach past the output */
    for (unsigned i = 0; i < MLDSA_N; i += 8) {
        const vec x = _mm256_sllv_epi32(_mm256_sub_epi32(top, load(z->c + i)), shift);
        const vec y =
            _mm256_or_si256(_mm256_shuffle_epi8(x, begin), _mm256_shuffle_epi8(x, end));
        uint8_t *const to = i + 8 < MLDSA_N ? out + i / 8 * bits : last;
        _mm_storeu_si128((void *)to, _mm256_castsi256_si128(y));
        _mm_storeu_si128((void *)(to + half), _mm256_extracti128_si256(y, 1));
    }
    memcpy(out + 31 * (size_t)bits, last, bits);
    qpher_wipe(last, sizeof last);
}

/* Algorithm 16 for w1: neighbours are joined by multiplications with powers of two. */
void mldsa_pack_w1_avx2(uint8_t *out, const uint8_t w1[MLDSA_N], unsigned bits)
{
    const vec pair = _mm256_set1_epi16(bits == 4 ? 1 | 16 << 8 : 1 | 64 << 8);
    if (bits == 4) {
        for (unsigned i = 0; i < MLDSA_N; i += 64, out += 32) {
            const vec x = _mm256_maddubs_epi16(_mm256_loadu_si256((const void *)(w1 + i)), pair);
            const vec y =
                _mm256_maddubs_epi16(_mm256_loadu_si256((const void *)(w1 + i + 32)), pair);
            _mm256_storeu_si256((void *)out,
                                _mm256_permute4x64_epi64(_mm256_packus_epi16(x, y), 0xd8));
        }
        return;
    }
    const vec four = _mm256_set1_epi32(1 | 4096 << 16);
    const vec squeeze = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0,
                                         1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (unsigned i = 0; i < MLDSA_N; i += 32, out += 24) {
        const vec x = _mm256_maddubs_epi16(_mm256_loadu_si256((const void *)(w1 + i)), pair);
        const vec y = _mm256_shuffle_epi8(_mm256_madd_epi16(x, four), squeeze);
        const __m128i low = _mm256_castsi256_si128(y), high = _mm256_extracti128_si256(y, 1);
        _mm_storel_epi64((void *)out, low);
        store32_le(out + 8, (uint32_t)_mm_extract_epi32(low, 2));
        _mm_storel_epi64((void *)(out + 12), high);
        store32_le(out + 20, (uint32_t)_mm_extract_epi32(high, 2));
    }
}

/* Algorithm 16 for t1: two, then four fields are joined to the five bytes that they fill. */
void mldsa_pack_t1_avx2(uint8_t out[MLDSA_T1_BYTES], const mldsa_poly *t1)
{
    const vec pair = _mm256_set1_epi32(1 | 1024 << 16);
    const vec first = _mm256_set1_epi64x(0xfffff), second = _mm256_set1_epi64x(0xfffff00000);
    const __m128i five = _mm_setr_epi8(0, 1, 2, 3, 4, 8, 9, 10, 11, 12, -1, -1, -1, -1, -1, -1);
    uint8_t last[32]; /* stores of the last group would reach past the output */
    for (unsigned i = 0; i < MLDSA_N; i += 16) {
        uint8_t *const to = i + 16 < MLDSA_N ? out + i / 16 * 20 : last;
        const vec x = _mm256_packus_epi32(load(t1->c + i), load(t1->c + i + 8));
        const vec y = _mm256_madd_epi16(_mm256_permute4x64_epi64(x, 0xd8), pair);
        const vec z = _mm256_shuffle_epi8(
            _mm256_or_si256(_mm256_and_si256(y, first),
                            _mm256_and_si256(_mm256_srli_epi64(y, 12), second)),
            _mm256_broadcastsi128_si256(five));
        _mm_storeu_si128((void *)to, _mm256_castsi256_si128(z));
        _mm_storeu_si128((void *)(to + 10), _mm256_extracti128_si256(z, 1));
    }
    memcpy(out + MLDSA_T1_BYTES - 20, last, 20);
}

/* Its inverse: eight fields of ten bytes, the upper four from a load that ends with the tenth. */
void mldsa_unpack_t1_avx2(mldsa_poly *t1, const uint8_t in[MLDSA_T1_BYTES])
{
    const vec spread = _mm256_setr_epi8(0, 1, -1, -1, 1, 2, -1, -1, 2, 3, -1, -1, 3, 4, -1, -1, 3, 4,
                                        -1, -1, 4, 5, -1, -1, 5, 6, -1, -1, 6, 7, -1, -1);
    const vec shift = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6), field = _mm256_set1_epi32(0x3ff);
    for (unsigned i = 0; i < MLDSA_N; i += 8, in += 10) {
        const vec x = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadl_epi64((const void *)in)),
            _mm_loadl_epi64((const void *)(in + 2)), 1);
        store(t1->c + i, _mm256_and_si256(
                             _mm256_srlv_epi32(_mm256_shuffle_epi8(x, spread), shift), field));
    }
}

const struct mldsa_unit mldsa_avx2 = {
    .speculation = 2,
    .ntt = mldsa_ntt_avx2,
    .intt = mldsa_intt_avx2,
    .dot = mldsa_dot_avx2,
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
typedef int mldsa_avx2_is_empty; /* a translation unit needs a declaration */
#endif
