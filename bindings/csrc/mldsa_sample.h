/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 section 7.3: masks and challenges, with as many Keccak lanes as the CPU has. */
#ifndef QPHER_MLDSA_SAMPLE_H
#define QPHER_MLDSA_SAMPLE_H

#include "mldsa_poly.h"

/* One vector of masks to make. */
struct mldsa_mask {
    mldsa_poly *y; /* l polynomials; |c| <= gamma1 */
    const uint8_t *rho_second; /* rho'', 64 bytes */
    unsigned kappa;
};

/* Algorithm 34, ExpandMask, for n vectors at once. */
void mldsa_expand_masks(const struct mldsa_params *p, const struct mldsa_mask *masks, unsigned n);

/* Algorithm 29, SampleInBall, for n <= 8 commitment hashes at once; c[i] may be anywhere. */
void mldsa_sample_in_ball(const struct mldsa_params *p, mldsa_poly *const c[],
                          const uint8_t *const ctilde[], unsigned n);

#endif
