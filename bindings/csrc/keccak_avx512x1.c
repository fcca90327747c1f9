/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] on one state, in the lower halves of the 128-bit registers of AVX-512VL. Scalar code, with half
 * as many registers and no instruction for chi, takes half as long again. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl")
#endif

#include "keccak.h"

#define STATES 1
#define REGISTER(n) "%%xmm" #n
#define BROADCAST "%{1to2%}"
#define LOAD(n) "vmovq 8*" #n "(%0), " REGISTER(n) LINE
#define STORE(n) "vmovq " REGISTER(n) ", 8*" #n "(%0)" LINE
#include "keccak_avx512_round.h"

void keccak_f1600_avx512(uint64_t s[25])
{
    keccak_f1600_here(s);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int keccak_avx512x1_is_empty; /* a translation unit needs a declaration */
#endif
