/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of ML-KEM for AVX-512: 32 coefficients at a time, compaction by vpcompressw, fields of
 * bits by vpmultishiftqb. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                                    \
    __attribute__((target(                                                                       \
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2,popcnt"))),     \
    apply_to = function)
#else
#pragma GCC target(                                                                              \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2,popcnt")
#endif

#include <immintrin.h>

#include "bytes.h"
#include "ct.h"
#include "mlkem_poly.h"
#include "mlkem_x86.h"

typedef __m512i vec;

static inline vec load(const void *p)
{
    return _mm512_load_si512(p);
}

static inline void store(void *p, vec x)
{
    _mm512_store_si512(p, x);
}

/* ---- Fields of d bits: 32 of them are 4 * d bytes ------------------------------------------------ */

/* Of word i, four fields: the eight bytes from the one where it begins on, and for each byte of
 * the 16-bit lanes the bit where it begins. */
#define SPREAD(d, n) (uint8_t)(4 * (d) * ((n) / 8) / 8 + (n) % 8)
#define SHIFT(d, n) (uint8_t)(MLKEM_WORD_BIT(d, (n) / 8) + (d) * ((n) % 8 / 2) + 8 * ((n) % 2))

struct fields {
    _Alignas(64) uint8_t spread[64];
    uint8_t shift[64], begin[64], end[64];
};

#define FIELDS(d)                                                                                \
    {{MLKEM_64(SPREAD, d)}, {MLKEM_64(SHIFT, d)}, {MLKEM_64(MLKEM_BEGIN, d)},                     \
     {MLKEM_64(MLKEM_END, d)}}

static const struct fields fields4 = FIELDS(4), fields5 = FIELDS(5), fields10 = FIELDS(10),
                           fields11 = FIELDS(11), fields12 = FIELDS(12);

/* d is a constant wherever these are inlined. */
static inline const struct fields *fields_of(unsigned d)
{
    return d == 4 ? &fields4 : d == 5 ? &fields5 : d == 10 ? &fields10
         : d == 11 ? &fields11 : &fields12;
}

static inline __mmask64 first_bytes(unsigned n)
{
    return ((__mmask64)1 << n) - 1;
}

static inline vec unpack32(const uint8_t *in, unsigned d)
{
    const struct fields *f = fields_of(d);
    const vec x = _mm512_maskz_loadu_epi8(first_bytes(4 * d), in);
    const vec words = _mm512_permutexvar_epi8(load(f->spread), x);
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(load(f->shift), words),
                            _mm512_set1_epi16((int16_t)((1 << d) - 1)));
}

static inline void pack32(uint8_t *out, vec x, unsigned d)
{
    const struct fields *f = fields_of(d);
    const long long rest = 32 - 2 * (long long)d, half = d % 2 ? 4 : 0;
    const vec join = _mm512_set1_epi32(1 | 1 << (16 + d)), up = _mm512_set1_epi64(rest);
    const vec down = _mm512_set_epi64(rest - half, rest, rest - half, rest, rest - half, rest,
                                      rest - half, rest);
    x = _mm512_sllv_epi32(_mm512_madd_epi16(x, join), up); /* the odd 32-bit lanes by zero */
    x = _mm512_srlv_epi64(x, down);
    vec y = _mm512_permutexvar_epi8(load(f->begin), x);
    if (d % 2)
        y = _mm512_or_si512(y, _mm512_permutexvar_epi8(load(f->end), x));
    _mm512_mask_storeu_epi8(out, first_bytes(4 * d), y);
}

static void encode12(uint8_t out[MLKEM_POLY_BYTES], const mlkem_poly *p)
{
    for (unsigned i = 0; i < MLKEM_N; i += 32)
        pack32(out + i / 8 * 12, load(p->c + i), 12);
}

static void decode12(mlkem_poly *p, const uint8_t in[MLKEM_POLY_BYTES])
{
    for (unsigned i = 0; i < MLKEM_N; i += 32)
        store(p->c + i, unpack32(in + i / 8 * 12, 12));
}

/* x * 2^d: compilers make a shift of it, whose count has not the same type in all of them. */
static inline vec times_power(vec x, unsigned d)
{
    return _mm512_mullo_epi16(x, _mm512_set1_epi16((int16_t)(1 << d)));
}

/* Compress_d in each lane, as in mlkem_portable.c. */
static inline vec compress_lanes(vec x, unsigned d)
{
    const vec one = _mm512_set1_epi16(1);
    const vec y = _mm512_mulhrs_epi16(x, _mm512_set1_epi16(MLKEM_RECIPROCAL(d)));
    const vec rest = _mm512_sub_epi16(times_power(x, d),
                                      _mm512_mullo_epi16(y, _mm512_set1_epi16(MLKEM_Q)));
    const __mmask32 more = _mm512_cmpgt_epi16_mask(rest, _mm512_set1_epi16(MLKEM_Q / 2));
    const __mmask32 less = _mm512_cmplt_epi16_mask(rest, _mm512_set1_epi16(-(MLKEM_Q / 2)));
    const vec z = _mm512_mask_add_epi16(y, more, y, one);
    return _mm512_and_si512(_mm512_mask_sub_epi16(z, less, z, one),
                            _mm512_set1_epi16((int16_t)((1 << d) - 1)));
}

static inline void compress_d(uint8_t *out, const mlkem_poly *a, const mlkem_poly *b, unsigned d)
{
    for (unsigned i = 0; i < MLKEM_N; i += 32) {
        const vec x = _mm512_add_epi16(load(a->c + i), load(b->c + i));
        pack32(out + i / 8 * d, compress_lanes(x, d), d);
    }
}

/* Decompress_d(y) is vpmulhrsw of y * 2^(15 - d) and q. */
static inline void decompress_d(mlkem_poly *p, const uint8_t *in, unsigned d)
{
    for (unsigned i = 0; i < MLKEM_N; i += 32)
        store(p->c + i, _mm512_mulhrs_epi16(times_power(unpack32(in + i / 8 * d, d), 15 - d),
                                            _mm512_set1_epi16(MLKEM_Q)));
}

static void compress(uint8_t *out, const mlkem_poly *a, const mlkem_poly *b, unsigned d)
{
    if (d == 4)
        compress_d(out, a, b, 4);
    else if (d == 5)
        compress_d(out, a, b, 5);
    else if (d == 10)
        compress_d(out, a, b, 10);
    else
        compress_d(out, a, b, 11);
}

static void decompress(mlkem_poly *p, const uint8_t *in, unsigned d)
{
    if (d == 4)
        decompress_d(p, in, 4);
    else if (d == 5)
        decompress_d(p, in, 5);
    else if (d == 10)
        decompress_d(p, in, 10);
    else
        decompress_d(p, in, 11);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

/* Stores the lanes of mask, one after the other, from have on, as far as there is room. */
static inline unsigned append(mlkem_poly *r, unsigned have, vec x, __mmask32 mask)
{
    const vec packed = _mm512_maskz_compress_epi16(mask, x);
    const unsigned room = MLKEM_N - have, n = (unsigned)_mm_popcnt_u32(mask);
    if (room >= 32) {
        _mm512_storeu_si512(r->c + have, packed); /* what follows the n is overwritten */
        return have + n;
    }
    _mm512_mask_storeu_epi16(r->c + have, (__mmask32)((1u << room) - 1), packed);
    return n < room ? have + n : MLKEM_N;
}

/* 32 candidates of twelve bits; sixteen where only 24 bytes are left. */
static unsigned reject_uniform(mlkem_poly *r, unsigned have, const uint8_t *in, unsigned len)
{
    const vec spread = load(fields12.spread), shift = load(fields12.shift);
    const vec low12 = _mm512_set1_epi16(0xfff), q = _mm512_set1_epi16(MLKEM_Q);
    for (unsigned i = 0; i < len && have < MLKEM_N; i += 48) {
        const unsigned bytes = len - i < 48 ? len - i : 48;
        const vec x = _mm512_maskz_loadu_epi8(first_bytes(bytes), in + i);
        const vec c = _mm512_and_si512(
            _mm512_multishift_epi64_epi8(shift, _mm512_permutexvar_epi8(spread, x)), low12);
        const __mmask32 there = (__mmask32)(0xffffffff >> (32 - bytes / 3 * 2));
        have = append(r, have, c, _mm512_mask_cmplt_epi16_mask(there, c, q));
    }
    return have;
}

/* Algorithm 8 on half-bytes: the sum of the lower two bits and 3, minus that of the upper two. */
static void cbd2(mlkem_poly *p, const uint8_t *in)
{
    const vec m1 = _mm512_set1_epi32(0x55), m2 = _mm512_set1_epi32(0x33);
    const vec m4 = _mm512_set1_epi32(0x000f000f), three = _mm512_set1_epi16(3);
    for (unsigned i = 0; i < MLKEM_N; i += 32, in += 16) {
        vec x = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)in)); /* two fields each */
        x = _mm512_add_epi32(_mm512_and_si512(x, m1),
                             _mm512_and_si512(_mm512_srli_epi32(x, 1), m1));
        x = _mm512_sub_epi32(_mm512_add_epi32(_mm512_and_si512(x, m2), m2),
                             _mm512_and_si512(_mm512_srli_epi32(x, 2), m2));
        x = _mm512_and_si512(_mm512_or_si512(x, _mm512_slli_epi32(x, 12)), m4);
        store(p->c + i, _mm512_sub_epi16(x, three));
    }
}

/* ---- Messages ------------------------------------------------------------------------------------ */

static void add_message(mlkem_poly *p, const uint8_t m[MLKEM_SYM_BYTES])
{
    const vec one = _mm512_set1_epi16(MLKEM_MESSAGE_ONE);
    for (unsigned i = 0; i < MLKEM_N; i += 32) {
        const vec x = load(p->c + i);
        store(p->c + i, _mm512_mask_add_epi16(x, load32_le(m + i / 8), x, one));
    }
}

static void get_message(uint8_t m[MLKEM_SYM_BYTES], const mlkem_poly *v, const mlkem_poly *w)
{
    for (unsigned i = 0; i < MLKEM_N; i += 32) {
        const vec bits = compress_lanes(_mm512_sub_epi16(load(v->c + i), load(w->c + i)), 1);
        store32_le(m + i / 8, _mm512_movepi16_mask(_mm512_slli_epi16(bits, 15)));
    }
}

const struct mlkem_unit mlkem_avx512 = {
    .ntt = mlkem_ntt_avx512,
    .intt = mlkem_intt_avx512,
    .prepare = mlkem_prepare_avx512,
    .dot = mlkem_dot_avx512,
    .finish = mlkem_finish_avx512,
    .canonical = mlkem_canonical_avx2,
    .reject_uniform = reject_uniform,
    .cbd2 = cbd2,
    .cbd3 = mlkem_cbd3_avx2,
    .encode12 = encode12,
    .decode12 = decode12,
    .compress = compress,
    .decompress = decompress,
    .add_message = add_message,
    .get_message = get_message,
    .differ = mlkem_differ_avx2,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int mlkem_avx512_is_empty; /* a translation unit needs a declaration */
#endif
