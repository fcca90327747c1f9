/* SPDX-License-Identifier: Apache-2.0 */
/* Parameter sets and opened keys of ML-KEM. */
#ifndef QPHER_MLKEM_KEY_H
#define QPHER_MLKEM_KEY_H

#include "mlkem_poly.h"
#include "qpher_native.h"

/* One parameter set (FIPS 203 section 8, Table 2); lengths in bytes. */
struct mlkem_params {
    unsigned k, eta1, eta2, du, dv;
    unsigned ek_len, dk_len, ct_len;
};

/* The inputs of H and J (4.4) stand in whole blocks: n bytes and the padding. */
enum { MLKEM_HASH_BLOCK = 136 };
#define MLKEM_HASH_BLOCKS(n) ((n) / MLKEM_HASH_BLOCK + 1)
#define MLKEM_PADDED(n) (MLKEM_HASH_BLOCKS(n) * MLKEM_HASH_BLOCK)

/* An opened encapsulation key: what can be computed before an encapsulation is. */
struct qpher_mlkem_ek {
    mlkem_poly a[MLKEM_MAX_K * MLKEM_MAX_K]; /* matrix, canonical; row i, column j at i * k + j */
    mlkem_poly t[MLKEM_MAX_K];               /* canonical, NTT domain */
    uint8_t h[MLKEM_SYM_BYTES];              /* H(ek) */
    uint8_t encoded[MLKEM_PADDED(MLKEM_MAX_EK)];
    const struct mlkem_params *params;
};

/* An opened decapsulation key. What is secret stands before ek. */
struct qpher_mlkem_dk {
    mlkem_factor s[MLKEM_MAX_K]; /* near, NTT domain */
    uint8_t d[MLKEM_SYM_BYTES], z[MLKEM_SYM_BYTES];
    int has_seed; /* d is known: the key did not come from its expanded form */
    struct qpher_mlkem_ek ek;
};

/* Null for an unknown set of enum qpher_mlkem_set. */
const struct mlkem_params *mlkem_params_of(int set);

#endif
