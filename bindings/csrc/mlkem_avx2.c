/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of ML-KEM for AVX2: sixteen coefficients at a time, compaction by a table. */
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
#include "mlkem_poly.h"
#include "mlkem_x86.h"

typedef __m256i vec;

static inline vec load(const void *p)
{
    return _mm256_load_si256(p);
}

static inline void store(void *p, vec x)
{
    _mm256_store_si256(p, x);
}

static inline vec load_two(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
        _mm_loadu_si128((const void *)high), 1);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

/* Stores the lanes of mask, one after the other, from have on, as far as there is room. */
static inline unsigned append(mlkem_poly *r, unsigned have, __m128i x, unsigned mask)
{
    const __m128i low = _mm_loadl_epi64((const void *)&mlkem_compact[mask]);
    const __m128i order = _mm_unpacklo_epi8(low, _mm_add_epi8(low, _mm_set1_epi8(1)));
    const __m128i packed = _mm_shuffle_epi8(x, order);
    const unsigned room = MLKEM_N - have, n = (unsigned)_mm_popcnt_u32(mask);
    int16_t last[8];
    if (room >= 8) {
        _mm_storeu_si128((void *)(r->c + have), packed); /* what follows the n is overwritten */
        return have + n;
    }
    _mm_storeu_si128((void *)last, packed);
    memcpy(r->c + have, last, room * sizeof last[0]);
    return n < room ? have + n : MLKEM_N;
}

/* Sixteen candidates of twelve bits. */
static unsigned reject_uniform(mlkem_poly *r, unsigned have, const uint8_t *in, unsigned len)
{
    const vec spread = _mm256_setr_epi8(0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11, 4, 5, 5,
                                        6, 7, 8, 8, 9, 10, 11, 11, 12, 13, 14, 14, 15);
    const vec low12 = _mm256_set1_epi16(0xfff), q = _mm256_set1_epi16(MLKEM_Q);
    for (unsigned i = 0; i < len && have < MLKEM_N; i += 24) {
        const vec x = _mm256_shuffle_epi8(load_two(in + i, in + i + 8), spread);
        const vec c =
            _mm256_and_si256(_mm256_blend_epi16(x, _mm256_srli_epi16(x, 4), 0xaa), low12);
        const vec below = _mm256_cmpgt_epi16(q, c);
        const unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_packs_epi16(_mm256_castsi256_si128(below), _mm256_extracti128_si256(below, 1)));
        have = append(r, have, _mm256_castsi256_si128(c), mask & 0xff);
        have = append(r, have, _mm256_extracti128_si256(c, 1), mask >> 8);
    }
    return have;
}

/* Algorithm 8 on half-bytes: the sum of the lower two bits and 3, minus that of the upper two. */
static void cbd2(mlkem_poly *p, const uint8_t *in)
{
    const vec m1 = _mm256_set1_epi8(0x55), m2 = _mm256_set1_epi8(0x33);
    const vec m4 = _mm256_set1_epi8(0x0f), three = _mm256_set1_epi8(3);
    for (unsigned i = 0; i < MLKEM_N; i += 64, in += 32) {
        vec x = _mm256_loadu_si256((const void *)in);
        x = _mm256_add_epi8(_mm256_and_si256(x, m1),
                            _mm256_and_si256(_mm256_srli_epi16(x, 1), m1));
        x = _mm256_sub_epi8(_mm256_add_epi8(_mm256_and_si256(x, m2), m2),
                            _mm256_and_si256(_mm256_srli_epi16(x, 2), m2));
        const vec even = _mm256_sub_epi8(_mm256_and_si256(x, m4), three);
        const vec odd = _mm256_sub_epi8(_mm256_and_si256(_mm256_srli_epi16(x, 4), m4), three);
        const vec a = _mm256_unpacklo_epi8(even, odd), b = _mm256_unpackhi_epi8(even, odd);
        store(p->c + i, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(a)));
        store(p->c + i + 16, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(b)));
        store(p->c + i + 32, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(a, 1)));
        store(p->c + i + 48, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(b, 1)));
    }
}

/* The same on fields of six bits, four in each 32-bit lane. */
void mlkem_cbd3_avx2(mlkem_poly *p, const uint8_t *in)
{
    const vec spread = _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 4, 5,
                                        6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    const vec m1 = _mm256_set1_epi32(0x249249), m3 = _mm256_set1_epi32(0x1c71c7);
    const vec threes = _mm256_set1_epi32(0x0c30c3), three = _mm256_set1_epi16(3);
    const vec first = _mm256_set1_epi32(0x3f), second = _mm256_set1_epi32(0x3f0000);
    for (unsigned i = 0; i < MLKEM_N; i += 32, in += 24) {
        vec x = _mm256_shuffle_epi8(load_two(in, in + 8), spread);
        x = _mm256_add_epi32(_mm256_add_epi32(_mm256_and_si256(x, m1),
                                              _mm256_and_si256(_mm256_srli_epi32(x, 1), m1)),
                             _mm256_and_si256(_mm256_srli_epi32(x, 2), m1));
        x = _mm256_sub_epi32(_mm256_add_epi32(_mm256_and_si256(x, m3), threes),
                             _mm256_and_si256(_mm256_srli_epi32(x, 3), m3));
        const vec a = _mm256_or_si256(_mm256_and_si256(x, first),
                                      _mm256_and_si256(_mm256_slli_epi32(x, 10), second));
        const vec b = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(x, 12), first),
                                      _mm256_and_si256(_mm256_srli_epi32(x, 2), second));
        const vec low = _mm256_sub_epi16(_mm256_unpacklo_epi32(a, b), three);
        const vec high = _mm256_sub_epi16(_mm256_unpackhi_epi32(a, b), three);
        store(p->c + i, _mm256_permute2x128_si256(low, high, 0x20));
        store(p->c + i + 16, _mm256_permute2x128_si256(low, high, 0x31));
    }
}

/* ---- Encoding: sixteen fields of d bits are 2 * d bytes, d for each 128-bit half ---------------- */

/* Loads and stores have 16 bytes for each half, so they reach past the last ones: the last two
 * groups of sixteen go through a buffer. */
enum { GROUPS = MLKEM_N / 16, LAST = GROUPS - 2, TAIL_BYTES = 4 * 12 + 16 };

struct packing {
    uint8_t begin[16], end[16];
};

/* Field n of eight: four bytes from the one where it begins on, to be shifted to the right. */
#define FIRST(d, n) ((d) * (n) / 8)
#define FOUR(d, n) FIRST(d, n), FIRST(d, n) + 1, FIRST(d, n) + 2, FIRST(d, n) + 3
#define SHIFT(d, n) ((d) * (n) % 8)
struct unpacking {
    uint8_t low[16], high[16];
    uint32_t shift_low[4], shift_high[4];
};

#define PACKING(d) [d] = {{MLKEM_16(MLKEM_BEGIN, d, 0)}, {MLKEM_16(MLKEM_END, d, 0)}}
#define UNPACKING(d)                                                                             \
    [d] = {{FOUR(d, 0), FOUR(d, 1), FOUR(d, 2), FOUR(d, 3)},                                     \
           {FOUR(d, 4), FOUR(d, 5), FOUR(d, 6), FOUR(d, 7)},                                     \
           {SHIFT(d, 0), SHIFT(d, 1), SHIFT(d, 2), SHIFT(d, 3)},                                 \
           {SHIFT(d, 4), SHIFT(d, 5), SHIFT(d, 6), SHIFT(d, 7)}}

static const struct packing packings[] = {PACKING(4), PACKING(5), PACKING(10), PACKING(11),
                                          PACKING(12)};
static const struct unpacking unpackings[] = {UNPACKING(4), UNPACKING(5), UNPACKING(10),
                                              UNPACKING(11), UNPACKING(12)};

static inline vec twice(const void *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

/* Packs fields of d bits; d is a constant wherever this is inlined. */
static inline void pack16(uint8_t *out, vec x, unsigned d)
{
    const vec join = _mm256_set1_epi32(1 | 1 << (16 + d));
    const vec up = _mm256_set1_epi64x(32 - 2 * (long long)d);
    const vec down = d % 2 ? _mm256_setr_epi64x(32 - 2 * (long long)d, 28 - 2 * (long long)d,
                                                32 - 2 * (long long)d, 28 - 2 * (long long)d)
                           : up;
    x = _mm256_sllv_epi32(_mm256_madd_epi16(x, join), up); /* the odd 32-bit lanes by zero */
    x = _mm256_srlv_epi64(x, down);
    vec y = _mm256_shuffle_epi8(x, twice(packings[d].begin));
    if (d % 2)
        y = _mm256_or_si256(y, _mm256_shuffle_epi8(x, twice(packings[d].end)));
    _mm_storeu_si128((void *)out, _mm256_castsi256_si128(y));
    _mm_storeu_si128((void *)(out + d), _mm256_extracti128_si256(y, 1));
}

/* Where group i is to be stored to or loaded from. */
static inline uint8_t *place(uint8_t *out, uint8_t *tail, unsigned i, unsigned d)
{
    return i < LAST ? out + 2 * i * (size_t)d : tail + 2 * (i - LAST) * (size_t)d;
}

static inline vec unpack16(const uint8_t *in, unsigned d)
{
    const struct unpacking *u = &unpackings[d];
    const vec x = load_two(in, in + d), field = _mm256_set1_epi32((1 << d) - 1);
    const vec low = _mm256_srlv_epi32(_mm256_shuffle_epi8(x, twice(u->low)), twice(u->shift_low));
    const vec high =
        _mm256_srlv_epi32(_mm256_shuffle_epi8(x, twice(u->high)), twice(u->shift_high));
    return _mm256_packus_epi32(_mm256_and_si256(low, field), _mm256_and_si256(high, field));
}

static void encode12(uint8_t out[MLKEM_POLY_BYTES], const mlkem_poly *p)
{
    uint8_t tail[TAIL_BYTES];
    for (unsigned i = 0; i < GROUPS; i++)
        pack16(place(out, tail, i, 12), load(p->c + 16 * i), 12);
    memcpy(out + 2 * LAST * 12, tail, 4 * 12);
    qpher_wipe(tail, sizeof tail);
}

static void decode12(mlkem_poly *p, const uint8_t in[MLKEM_POLY_BYTES])
{
    uint8_t tail[TAIL_BYTES] = {0};
    memcpy(tail, in + 2 * LAST * 12, 4 * 12);
    for (unsigned i = 0; i < GROUPS; i++)
        store(p->c + 16 * i, unpack16(i < LAST ? in + 24 * i : tail + 24 * (i - LAST), 12));
    qpher_wipe(tail, sizeof tail);
}

/* Compress_d in each lane, as in mlkem_portable.c. */
static inline vec compress_lanes(vec x, unsigned d)
{
    const vec y = _mm256_mulhrs_epi16(x, _mm256_set1_epi16(MLKEM_RECIPROCAL(d)));
    const vec rest = _mm256_sub_epi16(_mm256_slli_epi16(x, (int)d),
                                      _mm256_mullo_epi16(y, _mm256_set1_epi16(MLKEM_Q)));
    const vec more = _mm256_cmpgt_epi16(rest, _mm256_set1_epi16(MLKEM_Q / 2));
    const vec less = _mm256_cmpgt_epi16(_mm256_set1_epi16(-(MLKEM_Q / 2)), rest);
    return _mm256_and_si256(_mm256_add_epi16(_mm256_sub_epi16(y, more), less),
                            _mm256_set1_epi16((int16_t)((1 << d) - 1)));
}

static inline void compress_d(uint8_t *out, const mlkem_poly *a, const mlkem_poly *b, unsigned d)
{
    uint8_t tail[TAIL_BYTES];
    for (unsigned i = 0; i < GROUPS; i++) {
        const vec x = _mm256_add_epi16(load(a->c + 16 * i), load(b->c + 16 * i));
        pack16(place(out, tail, i, d), compress_lanes(x, d), d);
    }
    memcpy(out + 2 * LAST * d, tail, 4 * d);
    qpher_wipe(tail, sizeof tail);
}

/* Decompress_d(y) is vpmulhrsw of y * 2^(15 - d) and q. Ciphertexts are public. */
static inline void decompress_d(mlkem_poly *p, const uint8_t *in, unsigned d)
{
    uint8_t tail[TAIL_BYTES] = {0};
    memcpy(tail, in + 2 * LAST * d, 4 * d);
    for (unsigned i = 0; i < GROUPS; i++) {
        const vec y = unpack16(i < LAST ? in + 2 * i * d : tail + 2 * (i - LAST) * d, d);
        store(p->c + 16 * i, _mm256_mulhrs_epi16(_mm256_slli_epi16(y, 15 - (int)d),
                                                 _mm256_set1_epi16(MLKEM_Q)));
    }
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

/* ---- Messages and ciphertexts -------------------------------------------------------------------- */

static void add_message(mlkem_poly *p, const uint8_t m[MLKEM_SYM_BYTES])
{
    const vec bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192,
                                      16384, INT16_MIN);
    const vec one = _mm256_set1_epi16(MLKEM_MESSAGE_ONE);
    for (unsigned i = 0; i < GROUPS; i++) {
        const vec bits = _mm256_set1_epi16((int16_t)load16_le(m + 2 * i));
        const vec set = _mm256_cmpeq_epi16(_mm256_and_si256(bits, bit), bit);
        store(p->c + 16 * i,
              _mm256_add_epi16(load(p->c + 16 * i), _mm256_and_si256(set, one)));
    }
}

static void get_message(uint8_t m[MLKEM_SYM_BYTES], const mlkem_poly *v, const mlkem_poly *w)
{
    for (unsigned i = 0; i < MLKEM_N; i += 32) {
        const vec x = _mm256_sub_epi16(load(v->c + i), load(w->c + i));
        const vec y = _mm256_sub_epi16(load(v->c + i + 16), load(w->c + i + 16));
        const vec bits = _mm256_permute4x64_epi64(
            _mm256_packs_epi16(compress_lanes(x, 1), compress_lanes(y, 1)), 0xd8);
        store32_le(m + i / 8, (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(bits, 7)));
    }
}

/* n is a multiple of 32. */
uint32_t mlkem_differ_avx2(const uint8_t *a, const uint8_t *b, unsigned n)
{
    vec any = _mm256_setzero_si256();
    uint64_t words[4], all;
    for (unsigned i = 0; i < n; i += 32)
        any = _mm256_or_si256(any, _mm256_xor_si256(_mm256_loadu_si256((const void *)(a + i)),
                                                    _mm256_loadu_si256((const void *)(b + i))));
    _mm256_storeu_si256((void *)words, any);
    all = words[0] | words[1] | words[2] | words[3];
    return (uint32_t)all | (uint32_t)(all >> 32);
}

const struct mlkem_unit mlkem_avx2 = {
    .ntt = mlkem_ntt_avx2,
    .intt = mlkem_intt_avx2,
    .prepare = mlkem_prepare_avx2,
    .dot = mlkem_dot_avx2,
    .finish = mlkem_finish_avx2,
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
typedef int mlkem_avx2_is_empty; /* a translation unit needs a declaration */
#endif
