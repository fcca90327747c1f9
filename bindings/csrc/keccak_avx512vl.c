/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] on four states with the AVX-512VL forms of 256-bit instructions. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl")
#endif

#include <immintrin.h>

#include "keccak.h"

typedef __m256i word;
#define XOR(a, b) _mm256_xor_si256(a, b)
#define XOR3(a, b, c) _mm256_ternarylogic_epi64(a, b, c, 0x96)
#define XOR5(a, b, c, d, e) XOR3(XOR3(a, b, c), d, e)
#define ROL(a, n) _mm256_rol_epi64(a, n)
#define CHI(a, b, c) _mm256_ternarylogic_epi64(a, b, c, 0xd2)
#define CONSTANT(x) _mm256_set1_epi64x((long long)(x))
#include "keccak_round.h"

void keccak_f1600_x4_avx512vl(uint64_t s[100])
{
    word a[25];
    for (int i = 0; i < 25; i++)
        a[i] = _mm256_load_si256((const void *)(s + 4 * i));
    keccak_rounds(a);
    for (int i = 0; i < 25; i++)
        _mm256_store_si256((void *)(s + 4 * i), a[i]);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int keccak_avx512vl_is_empty; /* a translation unit needs a declaration */
#endif
