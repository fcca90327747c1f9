/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 tables 1 and 2. */
#include "mldsa_params.h"

#include "qpher_native.h"

static const struct mldsa_params mldsa_44 = {
    .set = QPHER_MLDSA_44, .k = 4, .l = 4, .eta = 2, .tau = 39, .beta = 78,
    .gamma1 = 1 << 17, .gamma2 = (MLDSA_Q - 1) / 88, .omega = 80, .ctilde_bytes = 32,
    .z_bits = 18, .w1_bits = 6, .eta_bits = 3,
    .pk_bytes = 1312, .sk_bytes = 2560, .sig_bytes = 2420,
};

static const struct mldsa_params mldsa_65 = {
    .set = QPHER_MLDSA_65, .k = 6, .l = 5, .eta = 4, .tau = 49, .beta = 196,
    .gamma1 = 1 << 19, .gamma2 = (MLDSA_Q - 1) / 32, .omega = 55, .ctilde_bytes = 48,
    .z_bits = 20, .w1_bits = 4, .eta_bits = 4,
    .pk_bytes = 1952, .sk_bytes = 4032, .sig_bytes = 3309,
};

static const struct mldsa_params mldsa_87 = {
    .set = QPHER_MLDSA_87, .k = 8, .l = 7, .eta = 2, .tau = 60, .beta = 120,
    .gamma1 = 1 << 19, .gamma2 = (MLDSA_Q - 1) / 32, .omega = 75, .ctilde_bytes = 64,
    .z_bits = 20, .w1_bits = 4, .eta_bits = 3,
    .pk_bytes = 2592, .sk_bytes = 4896, .sig_bytes = 4627,
};

const struct mldsa_params *mldsa_params_of(int set)
{
    switch (set) {
    case QPHER_MLDSA_44:
        return &mldsa_44;
    case QPHER_MLDSA_65:
        return &mldsa_65;
    case QPHER_MLDSA_87:
        return &mldsa_87;
    default:
        return NULL;
    }
}
