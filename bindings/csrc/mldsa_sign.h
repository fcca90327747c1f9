/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 algorithms 7 and 8, on opened keys and message representatives. */
#ifndef QPHER_MLDSA_SIGN_H
#define QPHER_MLDSA_SIGN_H

#include "mldsa_key.h"

/* One signature to make: mu and rnd in, signature out. The rest is the signer's. */
struct mldsa_job {
    const uint8_t *mu, *rnd; /* 64 bytes, 32 bytes */
    uint8_t *signature;
    unsigned kappa; /* counter of masks: the next candidate uses kappa .. kappa + l - 1 */
    int done;
    uint8_t rho_second[MLDSA_RHO_PRIME_BYTES];
};

/* Algorithm 7 for n independent jobs, one or many. Wipes what it wrote into the jobs. */
void mldsa_sign(const struct mldsa_params *p, const qpher_mldsa_sk *sk, struct mldsa_job *jobs,
                unsigned n);

/* One signature to check; both inputs have their lengths. */
struct mldsa_check {
    const uint8_t *mu, *signature;
    int valid;
};

/* Algorithm 8 for n independent checks. */
void mldsa_verify(const struct mldsa_params *p, const qpher_mldsa_pk *pk,
                  struct mldsa_check *checks, unsigned n);

#endif
