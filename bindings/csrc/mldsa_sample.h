/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 section 7.3: pseudorandom sampling, with as many Keccak lanes as the CPU has. */
#ifndef QPHER_MLDSA_SAMPLE_H
#define QPHER_MLDSA_SAMPLE_H

#include "mldsa_poly.h"

/* Algorithm 32, ExpandA: row i begins at rows[i * stride]. Out: in [0, q), NTT domain. */
void mldsa_expand_a(const struct mldsa_params *p, mldsa_poly *rows, unsigned stride,
                    const uint8_t rho[32]);

/* Algorithm 33, ExpandS: s1 (l polynomials) and s2 (k) one after the other. Out: |c| <= eta. */
void mldsa_expand_s(const struct mldsa_params *p, mldsa_poly *s, const uint8_t rho_prime[64]);

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
