/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] on four states, in the 256-bit registers of AVX-512VL. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl")
#endif

#include "keccak.h"

#define STATES 4
#define REGISTER(n) "%%ymm" #n
#define BROADCAST "%{1to4%}"
#define LOAD(n) "vmovdqa64 32*" #n "(%0), " REGISTER(n) LINE
#define STORE(n) "vmovdqa64 " REGISTER(n) ", 32*" #n "(%0)" LINE
#include "keccak_avx512_round.h"

void keccak_f1600_x4_avx512vl(uint64_t s[100])
{
    keccak_f1600_here(s);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int keccak_avx512vl_is_empty; /* a translation unit needs a declaration */
#endif
