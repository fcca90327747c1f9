/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a challenge with s1 and s2.
 *
 * A challenge has tau coefficients +-1 and the others are 0; s1 and s2 are within +-eta. So no
 * coefficient of a product exceeds beta = tau*eta <= 196, and any prime of more than twice that
 * serves as a modulus: here that of ML-KEM, whose transforms have 16 bits where those of ML-DSA
 * have 32. Constant time, as in ML-KEM. */
#ifndef QPHER_MLDSA_SHORT_H
#define QPHER_MLDSA_SHORT_H

#include "cpu.h"
#include "mldsa_poly.h"
#include "mlkem_poly.h"

/* The coefficients of a, which are small. */
static inline void mldsa_short_of(mlkem_poly *r, const mldsa_poly *a)
{
    for (unsigned i = 0; i < MLDSA_N; i++)
        r->c[i] = (int16_t)a->c[i];
}

static inline void mldsa_short_factor(mlkem_factor *f, const mldsa_poly *c)
{
    mlkem_poly t;
    mldsa_short_of(&t, c);
    qpher_dispatch.mlkem->ntt(&t);
    qpher_dispatch.mlkem->prepare(f, &t);
}

/* c*s for s in ML-KEM's NTT domain, ready for add_short. */
static inline void mldsa_short_product(mlkem_poly *r, const mlkem_poly *s, const mlkem_factor *c)
{
    qpher_dispatch.mlkem->dot(r, s, 1, c, 1);
    qpher_dispatch.mlkem->intt(r);
}

#endif
