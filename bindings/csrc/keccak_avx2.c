/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] with AVX2: four states at a time. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#include <immintrin.h>

#include "bytes.h"
#include "keccak.h"
#include "qpher_native.h"

typedef __m256i word;

/* n is a constant everywhere; rotations by whole bytes are one shuffle. */
#define ROL8                                                                                     \
    _mm256_setr_epi8(7, 0, 1, 2, 3, 4, 5, 6, 15, 8, 9, 10, 11, 12, 13, 14, 7, 0, 1, 2, 3, 4, 5,  \
                     6, 15, 8, 9, 10, 11, 12, 13, 14)
#define ROL56                                                                                    \
    _mm256_setr_epi8(1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 15, 8, 1, 2, 3, 4, 5, 6, 7,  \
                     0, 9, 10, 11, 12, 13, 14, 15, 8)
#define ROL(a, n)                                                                                \
    ((n) == 8    ? _mm256_shuffle_epi8(a, ROL8)                                                  \
     : (n) == 56 ? _mm256_shuffle_epi8(a, ROL56)                                                 \
                 : _mm256_or_si256(_mm256_slli_epi64(a, n), _mm256_srli_epi64(a, 64 - (n))))
#define XOR(a, b) _mm256_xor_si256(a, b)
#define XOR5(a, b, c, d, e) XOR(XOR(XOR(a, b), XOR(c, d)), e)
#define CHI(a, b, c) XOR(a, _mm256_andnot_si256(b, c))
#define CONSTANT(x) _mm256_set1_epi64x((long long)(x))
#include "keccak_round.h"

static word load(const void *p)
{
    return _mm256_loadu_si256(p);
}

static void store(void *p, word x)
{
    _mm256_storeu_si256(p, x);
}

static void f1600_x4(uint64_t s[100])
{
    word a[25];
    for (int i = 0; i < 25; i++)
        a[i] = load(s + 4 * i);
    keccak_rounds(a);
    for (int i = 0; i < 25; i++)
        store(s + 4 * i, a[i]);
}

static void gather(uint64_t t[100], const uint64_t s[200], int from)
{
    for (int i = 0; i < 25; i++)
        store(t + 4 * i, load(s + 8 * i + from));
}

static void scatter(uint64_t s[200], const uint64_t t[100], int to)
{
    for (int i = 0; i < 25; i++)
        store(s + 8 * i + to, load(t + 4 * i));
}

/* For callers that hold eight interleaved states; keccak_lanes uses two groups of four. */
static void f1600_x8(uint64_t s[200])
{
    _Alignas(32) uint64_t t[100];
    for (int half = 0; half < 8; half += 4) {
        gather(t, s, half);
        f1600_x4(t);
        scatter(s, t, half);
    }
    qpher_wipe(t, sizeof t);
}

/* x[j] holds words i..i+3 of instance j; afterwards x[i] holds word i of instances 0..3. The
 * transposition is its own inverse. */
static void transpose(word x[4])
{
    const word a = _mm256_unpacklo_epi64(x[0], x[1]);
    const word b = _mm256_unpackhi_epi64(x[0], x[1]);
    const word c = _mm256_unpacklo_epi64(x[2], x[3]);
    const word d = _mm256_unpackhi_epi64(x[2], x[3]);
    x[0] = _mm256_permute2x128_si256(a, c, 0x20);
    x[1] = _mm256_permute2x128_si256(b, d, 0x20);
    x[2] = _mm256_permute2x128_si256(a, c, 0x31);
    x[3] = _mm256_permute2x128_si256(b, d, 0x31);
}

void keccak_add_x4_avx2(uint64_t s[100], const uint8_t *const in[4], unsigned words)
{
    unsigned i = 0;
    for (; i + 4 <= words; i += 4) {
        word x[4];
        for (int j = 0; j < 4; j++)
            x[j] = load(in[j] + 8 * i);
        transpose(x);
        for (unsigned k = 0; k < 4; k++)
            store(s + 4 * (i + k), XOR(load(s + 4 * (i + k)), x[k]));
    }
    for (; i < words; i++)
        for (unsigned j = 0; j < 4; j++)
            s[4 * i + j] ^= load64_le(in[j] + 8 * i);
}

void keccak_get_x4_avx2(uint8_t *const out[4], const uint64_t s[100], unsigned words)
{
    unsigned i = 0;
    for (; i + 4 <= words; i += 4) {
        word x[4];
        for (unsigned k = 0; k < 4; k++)
            x[k] = load(s + 4 * (i + k));
        transpose(x);
        for (int j = 0; j < 4; j++)
            store(out[j] + 8 * i, x[j]);
    }
    for (; i < words; i++)
        for (unsigned j = 0; j < 4; j++)
            store64_le(out[j] + 8 * i, s[4 * i + j]);
}

/* keccak_lanes interleaves four lanes on this path, so nothing moves blocks of eight. */
const struct keccak_unit keccak_avx2 = {
    .preferred_lanes = 4,
    .spills = 1,
    .f1600 = keccak_f1600_bmi,
    .f1600_x4 = f1600_x4,
    .f1600_x8 = f1600_x8,
    .add_x4 = keccak_add_x4_avx2,
    .get_x4 = keccak_get_x4_avx2,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int keccak_avx2_is_empty; /* a translation unit needs a declaration */
#endif
