/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 section 4: the parameter sets, one row each, read at run time. */
#ifndef QPHER_MLDSA_PARAMS_H
#define QPHER_MLDSA_PARAMS_H

#include <stddef.h>
#include <stdint.h>

enum {
    MLDSA_N = 256,
    MLDSA_Q = 8380417, /* 2^23 - 2^13 + 1 */
    MLDSA_D = 13,      /* bits dropped from t */

    MLDSA_SEED_BYTES = 32, /* xi, rho, K, rnd */
    MLDSA_RHO_PRIME_BYTES = 64,
    MLDSA_TR_BYTES = 64,
    MLDSA_MU_BYTES = 64,
    MLDSA_MAX_CONTEXT = 255,

    /* The largest of each over the three sets. */
    MLDSA_MAX_K = 8,
    MLDSA_MAX_L = 7,
    MLDSA_MAX_CTILDE_BYTES = 64,
    MLDSA_MAX_PK_BYTES = 2592,
    MLDSA_MAX_W1_BYTES = 8 * 128, /* w1Encode: 4 * 192 is less */

    MLDSA_T1_BYTES = 320, /* 10 bits a coefficient */
    MLDSA_T0_BYTES = 416, /* 13 bits */
};

/* Table 1, and the sizes that follow from it (table 2). */
struct mldsa_params {
    int set;             /* enum qpher_mldsa_set */
    unsigned k, l;       /* rows and columns of A */
    unsigned eta;        /* range of the coefficients of s1, s2 */
    unsigned tau;        /* number of +-1 in c */
    int32_t beta;        /* tau * eta: no coefficient of c*s1 or c*s2 is larger */
    int32_t gamma1;      /* range of y; a power of two */
    int32_t gamma2;      /* low-order rounding range */
    unsigned omega;      /* most ones in the hint */
    unsigned ctilde_bytes;
    unsigned z_bits;     /* bits of a coefficient of z or y: 1 + log2(gamma1) */
    unsigned w1_bits;    /* bits of a coefficient of w1 */
    unsigned eta_bits;   /* bits of a coefficient of s1 or s2 */
    size_t pk_bytes, sk_bytes, sig_bytes;
};

/* The row of a set, or null if there is none of this number. */
const struct mldsa_params *mldsa_params_of(int set);

/* Bytes of one packed polynomial at so many bits a coefficient. */
static inline size_t mldsa_packed_bytes(unsigned bits)
{
    return (size_t)32 * bits;
}

#endif
