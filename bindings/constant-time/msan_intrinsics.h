/* SPDX-License-Identifier: Apache-2.0 */
/* For the MemorySanitizer build alone (clang, -include): plain C for the AVX-512 intrinsics that
 * MemorySanitizer does not know. It would report every use of such an intrinsic on a secret;
 * written out, the secret's shadow passes through them as it does through the instructions. */
#ifndef QPHER_MSAN_INTRINSICS_H
#define QPHER_MSAN_INTRINSICS_H

#if defined(__x86_64__) && defined(QPHER_CT_MSAN)
#include <immintrin.h>
#include <string.h>

/* Functions of whole vectors, lane by lane: r[i] = expression in x, y, z and i. */
#define MSAN_TARGET                                                                              \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2")))
#define MSAN_LANES(name, vector, lane, expression)                                               \
    MSAN_TARGET static inline vector name(vector a, vector b, vector c)                          \
    {                                                                                            \
        enum { N = sizeof(vector) / sizeof(lane) };                                              \
        lane x[N], y[N], z[N], r[N];                                                             \
        memcpy(x, &a, sizeof x);                                                                 \
        memcpy(y, &b, sizeof y);                                                                 \
        memcpy(z, &c, sizeof z);                                                                 \
        for (unsigned i = 0; i < N; i++)                                                         \
            r[i] = (lane)(expression);                                                           \
        (void)z;                                                                                 \
        memcpy(&a, r, sizeof r);                                                                 \
        return a;                                                                                \
    }

/* Permutations of one register (index x, words y) and of two (words x and z, index y). */
#define MSAN_PERMUTE(width, vector, lane, bits)                                                  \
    MSAN_LANES(msan_permute##width##_##bits, vector, lane, y[x[i] & (N - 1)])                    \
    MSAN_LANES(msan_permute2##width##_##bits, vector, lane,                                      \
               y[i] & N ? z[y[i] & (N - 1)] : x[y[i] & (N - 1)])
MSAN_PERMUTE(512, __m512i, unsigned char, 8)
MSAN_PERMUTE(512, __m512i, unsigned short, 16)
MSAN_PERMUTE(512, __m512i, unsigned int, 32)
MSAN_PERMUTE(512, __m512i, unsigned long long, 64)
MSAN_PERMUTE(256, __m256i, unsigned char, 8)
MSAN_PERMUTE(256, __m256i, unsigned short, 16)
MSAN_PERMUTE(256, __m256i, unsigned int, 32)
MSAN_PERMUTE(256, __m256i, unsigned long long, 64)
#define _mm512_permutexvar_epi8(i, a) msan_permute512_8(i, a, a)
#define _mm512_permutexvar_epi16(i, a) msan_permute512_16(i, a, a)
#undef _mm512_permutexvar_epi32
#define _mm512_permutexvar_epi32(i, a) msan_permute512_32(i, a, a)
#define _mm512_permutexvar_epi64(i, a) msan_permute512_64(i, a, a)
#define _mm256_permutexvar_epi8(i, a) msan_permute256_8(i, a, a)
#define _mm256_permutexvar_epi16(i, a) msan_permute256_16(i, a, a)
#define _mm256_permutexvar_epi64(i, a) msan_permute256_64(i, a, a)
#define _mm512_permutex2var_epi8(a, i, b) msan_permute2512_8(a, i, b)
#define _mm512_permutex2var_epi16(a, i, b) msan_permute2512_16(a, i, b)
#define _mm512_permutex2var_epi32(a, i, b) msan_permute2512_32(a, i, b)
#define _mm512_permutex2var_epi64(a, i, b) msan_permute2512_64(a, i, b)
#define _mm256_permutex2var_epi8(a, i, b) msan_permute2256_8(a, i, b)
#define _mm256_permutex2var_epi16(a, i, b) msan_permute2256_16(a, i, b)
#define _mm256_permutex2var_epi32(a, i, b) msan_permute2256_32(a, i, b)
#define _mm256_permutex2var_epi64(a, i, b) msan_permute2256_64(a, i, b)

/* The lanes of mask, one after the other; the rest zero. The mask is public wherever it is used. */
#define MSAN_COMPRESS(name, vector, lane)                                                        \
    MSAN_TARGET static inline vector name(unsigned long long mask, vector a)                     \
    {                                                                                            \
        enum { N = sizeof(vector) / sizeof(lane) };                                              \
        lane x[N], r[N] = {0};                                                                   \
        unsigned n = 0;                                                                          \
        memcpy(x, &a, sizeof x);                                                                 \
        for (unsigned i = 0; i < N; i++)                                                         \
            if (mask >> i & 1)                                                                   \
                r[n++] = x[i];                                                                   \
        memcpy(&a, r, sizeof r);                                                                 \
        return a;                                                                                \
    }
MSAN_COMPRESS(msan_compress512_16, __m512i, unsigned short)
MSAN_COMPRESS(msan_compress512_32, __m512i, unsigned int)
MSAN_COMPRESS(msan_compress256_16, __m256i, unsigned short)
MSAN_COMPRESS(msan_compress256_32, __m256i, unsigned int)
#define _mm512_maskz_compress_epi16(m, a) msan_compress512_16(m, a)
#define _mm512_maskz_compress_epi32(m, a) msan_compress512_32(m, a)
#define _mm256_maskz_compress_epi16(m, a) msan_compress256_16(m, a)
#define _mm256_maskz_compress_epi32(m, a) msan_compress256_32(m, a)

/* Eight bits of a 64-bit word from each of the bits that a byte of x names. */
MSAN_TARGET static inline __m512i msan_multishift(__m512i x, __m512i y)
{
    unsigned char from[64], r[64];
    unsigned long long words[8];
    memcpy(from, &x, sizeof from);
    memcpy(words, &y, sizeof words);
    for (unsigned i = 0; i < 64; i++) {
        const unsigned bit = from[i] & 63;
        const unsigned long long w = words[i / 8];
        r[i] = (unsigned char)(bit ? w >> bit | w << (64 - bit) : w);
    }
    memcpy(&x, r, sizeof r);
    return x;
}
#define _mm512_multishift_epi64_epi8(x, y) msan_multishift(x, y)

/* The upper bits of all bytes. */
MSAN_TARGET static inline int msan_movemask256(__m256i x)
{
    unsigned char bytes[32];
    unsigned bits = 0;
    memcpy(bytes, &x, sizeof bytes);
    for (unsigned i = 0; i < 32; i++)
        bits |= (unsigned)(bytes[i] >> 7) << i;
    return (int)bits;
}
#define _mm256_movemask_epi8(x) msan_movemask256(x)

/* Products of neighbouring lanes, added up. */
MSAN_TARGET static inline __m512i msan_madd16(__m512i a, __m512i b)
{
    short x[32], y[32];
    int r[16];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (unsigned i = 0; i < 16; i++)
        r[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
    memcpy(&a, r, sizeof r);
    return a;
}
#define _mm512_madd_epi16(a, b) msan_madd16(a, b)

MSAN_TARGET static inline __m512i msan_maddubs(__m512i a, __m512i b)
{
    unsigned char x[64];
    signed char y[64];
    short r[32];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (unsigned i = 0; i < 32; i++)
        r[i] = (short)(x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]); /* never saturates */
    memcpy(&a, r, sizeof r);
    return a;
}
#define _mm512_maddubs_epi16(a, b) msan_maddubs(a, b)

/* Packing with saturation, within 128-bit parts: the values fit wherever these are used. */
#define MSAN_PACK(name, wide, narrow)                                                            \
    MSAN_TARGET static inline __m512i name(__m512i a, __m512i b)                                 \
    {                                                                                            \
        enum { N = 64 / sizeof(wide), P = N / 4 };                                               \
        wide x[N], y[N];                                                                         \
        narrow r[2 * N];                                                                         \
        memcpy(x, &a, sizeof x);                                                                 \
        memcpy(y, &b, sizeof y);                                                                 \
        for (unsigned i = 0; i < N; i++) {                                                       \
            r[i / P * 2 * P + i % P] = (narrow)x[i];                                             \
            r[i / P * 2 * P + P + i % P] = (narrow)y[i];                                         \
        }                                                                                        \
        memcpy(&a, r, sizeof r);                                                                 \
        return a;                                                                                \
    }
MSAN_PACK(msan_pack32, unsigned int, unsigned short)
MSAN_PACK(msan_pack16, unsigned short, unsigned char)
#define _mm512_packs_epi32(a, b) msan_pack32(a, b)
#define _mm512_packus_epi32(a, b) msan_pack32(a, b)
#define _mm512_packs_epi16(a, b) msan_pack16(a, b)
#define _mm512_packus_epi16(a, b) msan_pack16(a, b)

#endif
#endif
