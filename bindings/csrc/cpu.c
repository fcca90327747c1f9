/* SPDX-License-Identifier: Apache-2.0 */
/* CPU features and the choice of a code path. */
#include "cpu.h"

#include "keccak.h"
#include "mldsa_poly.h"
#include "mlkem_poly.h"
#include "qpher_native.h"

/* The only mutable global of the core. */
struct qpher_dispatch qpher_dispatch = {
    .path = QPHER_CPU_PORTABLE,
    .keccak = &keccak_portable,
    .mlkem = &mlkem_portable,
    .mldsa = &mldsa_portable,
};

/* The built-ins ask CPUID, and XGETBV whether the operating system saves the registers. */
int qpher_cpu_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2"))
        return QPHER_CPU_PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vbmi2"))
        return QPHER_CPU_AVX2;
    return QPHER_CPU_AVX512;
#else
    return QPHER_CPU_PORTABLE;
#endif
}

int qpher_init(int path)
{
    const int best = qpher_cpu_best();
    if (path == -1)
        path = best;
    if (path < QPHER_CPU_PORTABLE || path > best)
        return QPHER_ERR_CPU;
    qpher_dispatch.path = (enum qpher_cpu_path)path;
    qpher_dispatch.keccak = keccak_unit_for(path);
    qpher_dispatch.mlkem = mlkem_unit_for(path);
    qpher_dispatch.mldsa = mldsa_unit_for(path);
    return path;
}

int qpher_cpu_path(void)
{
    return (int)qpher_dispatch.path;
}
