/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] on eight states, in the 512-bit registers of AVX-512, and the unit of AVX-512. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif

#include <immintrin.h>

#include "keccak.h"

#define STATES 8
#define REGISTER(n) "%%zmm" #n
#define BROADCAST "%{1to8%}"
#define LOAD(n) "vmovdqa64 64*" #n "(%0), " REGISTER(n) LINE
#define STORE(n) "vmovdqa64 " REGISTER(n) ", 64*" #n "(%0)" LINE
#include "keccak_avx512_round.h"

typedef __m512i word;

/* x[j] holds words i..i+7 of instance j; afterwards x[i] holds word i of instances 0..7. The
 * transposition is its own inverse: pairs of words, then pairs of 128-bit parts, twice. */
static inline __attribute__((always_inline)) void transpose(word x[8])
{
    word y[8];
    for (int j = 0; j < 8; j += 2) {
        y[j] = _mm512_unpacklo_epi64(x[j], x[j + 1]);     /* words 0 2 4 6 of j and j+1 */
        y[j + 1] = _mm512_unpackhi_epi64(x[j], x[j + 1]); /* words 1 3 5 7 */
    }
    for (int i = 0; i < 2; i++) {
        const word a = _mm512_shuffle_i64x2(y[i], y[i + 2], 0x88);     /* words i, i+4 of 0..3 */
        const word b = _mm512_shuffle_i64x2(y[i], y[i + 2], 0xdd);     /* words i+2, i+6 */
        const word c = _mm512_shuffle_i64x2(y[i + 4], y[i + 6], 0x88); /* the same of 4..7 */
        const word d = _mm512_shuffle_i64x2(y[i + 4], y[i + 6], 0xdd);
        x[i] = _mm512_shuffle_i64x2(a, c, 0x88);
        x[i + 2] = _mm512_shuffle_i64x2(b, d, 0x88);
        x[i + 4] = _mm512_shuffle_i64x2(a, c, 0xdd);
        x[i + 6] = _mm512_shuffle_i64x2(b, d, 0xdd);
    }
}

/* The words i..i+7 that exist. */
static __mmask8 present(unsigned i, unsigned words)
{
    return (__mmask8)(words - i >= 8 ? 0xff : (1u << (words - i)) - 1);
}

static void add_x8(uint64_t s[200], const uint8_t *const in[8], unsigned words)
{
    for (unsigned i = 0; i < words; i += 8) {
        const __mmask8 mask = present(i, words);
        word x[8];
        for (int j = 0; j < 8; j++)
            x[j] = _mm512_maskz_loadu_epi64(mask, in[j] + 8 * i);
        transpose(x);
        for (unsigned k = 0; k < 8; k++) /* past the words it adds zeros */
            _mm512_store_si512(s + 8 * (i + k),
                               _mm512_xor_si512(_mm512_load_si512(s + 8 * (i + k)), x[k]));
    }
}

static void get_x8(uint8_t *const out[8], const uint64_t s[200], unsigned words)
{
    for (unsigned i = 0; i < words; i += 8) {
        const __mmask8 mask = present(i, words);
        word x[8];
        for (unsigned k = 0; k < 8; k++) /* words past the rate are read, none past the state */
            x[k] = _mm512_load_si512(s + 8 * (i + k));
        transpose(x);
        for (int j = 0; j < 8; j++)
            _mm512_mask_storeu_epi64(out[j] + 8 * i, mask, x[j]);
    }
}

const struct keccak_unit keccak_avx512 = {
    .preferred_lanes = 8,
    .spills = 0,
    .f1600 = keccak_f1600_avx512,
    .f1600_x4 = keccak_f1600_x4_avx512vl,
    .f1600_x8 = keccak_f1600_here,
    .add_x4 = keccak_add_x4_avx2,
    .add_x8 = add_x8,
    .get_x4 = keccak_get_x4_avx2,
    .get_x8 = get_x8,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int keccak_avx512_is_empty; /* a translation unit needs a declaration */
#endif
