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

/* An opened encapsulation key: what can be computed before an encapsulation is. */
struct qpher_mlkem_ek {
    mlkem_poly a[MLKEM_MAX_K * MLKEM_MAX_K]; /* matrix, canonical; row i, column j at i * k + j */
    mlkem_poly t[MLKEM_MAX_K];               /* canonical, NTT domain */
    uint8_t h[MLKEM_SYM_BYTES];              /* H(ek) */
    uint8_t encoded[MLKEM_MAX_EK];
    const struct mlkem_params *params;
};

/* An opened decapsulation key. */
struct qpher_mlkem_dk {
    struct qpher_mlkem_ek ek;
    mlkem_factor s[MLKEM_MAX_K]; /* near, NTT domain */
    uint8_t d[MLKEM_SYM_BYTES], z[MLKEM_SYM_BYTES];
    int has_seed; /* d is known: the key did not come from its expanded form */
};

/* Null for an unknown set of enum qpher_mlkem_set. */
const struct mlkem_params *mlkem_params_of(int set);

#endif
