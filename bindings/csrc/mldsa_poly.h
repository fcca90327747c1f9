/* SPDX-License-Identifier: Apache-2.0 */
/* Polynomials of FIPS 204 and the table of operations that a code path implements.
 *
 * A coefficient is an int32_t that stands for its class modulo q; each operation states the
 * range that it takes and the range that it gives. NTT-domain polynomials are in the order of
 * the standard on every path, so objects made on one path mean the same on another. Products
 * are Montgomery products: they carry a factor 2^-32, which the inverse NTT takes away. */
#ifndef QPHER_MLDSA_POLY_H
#define QPHER_MLDSA_POLY_H

#include <stdint.h>

#include "mldsa_params.h"

typedef struct {
    _Alignas(64) int32_t c[MLDSA_N];
} mldsa_poly;

enum {
    MLDSA_QINV = 58728449,          /* q^-1 mod 2^32 */
    MLDSA_INTT_FACTOR = 41978,      /* 2^64 / 256 mod q: undoes 2^-32, and the 256 of the NTT */
};

extern const int32_t mldsa_zetas[MLDSA_N];
extern const int32_t mldsa_zetas_quotient[MLDSA_N];
extern const uint64_t mldsa_zetas_fraction[MLDSA_N];

struct mldsa_unit {
    /* How many candidates of one signature are tried at once (1 to 4). More than one pays where
     * several states are hashed for little more than the price of one. */
    unsigned speculation;

    /* Algorithm 41, in place. In: |c| < q. Out: |c| < 9.1q. */
    void (*ntt)(mldsa_poly *a);
    /* Algorithm 42 times 2^32, in place. In: |c| < q. Out: |c| < q. */
    void (*intt)(mldsa_poly *a);
    /* r = (a[0]*b[0] + .. + a[n-1]*b[n-1]) * 2^-32 in the NTT domain; the sum of the products
     * is below 2^31 * q. Out: |c| < q. */
    void (*dot)(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n);

    /* r = a + b mod+- q. In: |a + b| < 2q. Out: exact where the result is within +-2^21,
     * and beyond +-2^21 where it is not. */
    void (*add)(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b);
    /* Nonzero if any |c| >= bound; in constant time. */
    uint32_t (*exceeds)(const mldsa_poly *a, int32_t bound);

    /* r = r + product; nonzero if any |c| of it >= bound. In: a product of mldsa_short.h. */
    uint32_t (*add_short)(mldsa_poly *r, const int16_t product[MLDSA_N], int32_t bound);

    /* Algorithm 35 with t = t1 * 2^d + t0. In: |t| < q. */
    void (*power2round)(mldsa_poly *t1, mldsa_poly *t0, const mldsa_poly *t);
    /* Algorithm 36. In: |w| < q. */
    void (*decompose)(uint8_t w1[MLDSA_N], mldsa_poly *w0, const mldsa_poly *w, int32_t gamma2);
    /* Algorithm 39 where w0 = w - w1 * 2*gamma2 is known: h = 1 where the high bits of w are
     * not w1. Returns the number of ones. In: |w0| < 2*gamma2. */
    unsigned (*make_hint)(uint8_t h[MLDSA_N], const mldsa_poly *w0, const uint8_t w1[MLDSA_N],
                          int32_t gamma2);
    /* Algorithm 40. In: |w| < q, h in {0, 1}. */
    void (*use_hint)(uint8_t w1[MLDSA_N], const mldsa_poly *w, const uint8_t h[MLDSA_N],
                     int32_t gamma2);

    /* Inner loops of algorithms 30 and 31: append accepted coefficients to the have that are
     * there until 256 are; return how many are. len is a multiple of 24 or of 8. */
    unsigned (*reject_uniform)(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len);
    unsigned (*reject_eta)(mldsa_poly *r, unsigned have, const uint8_t *in, unsigned len,
                           unsigned eta);
    /* Algorithm 19 for y and z: c = gamma1 - bits, with bits = 1 + log2(gamma1). */
    void (*unpack_z)(mldsa_poly *r, const uint8_t *in, unsigned bits);
    /* Algorithm 17 for z, the inverse of unpack_z. In: -gamma1 < c <= gamma1. */
    void (*pack_z)(uint8_t *out, const mldsa_poly *z, unsigned bits);
    /* Algorithm 16 for w1, of 4 or 6 bits. */
    void (*pack_w1)(uint8_t *out, const uint8_t w1[MLDSA_N], unsigned bits);
    /* The same for t1, of 10 bits, and its inverse. */
    void (*pack_t1)(uint8_t out[MLDSA_T1_BYTES], const mldsa_poly *t1);
    void (*unpack_t1)(mldsa_poly *t1, const uint8_t in[MLDSA_T1_BYTES]);
};

extern const struct mldsa_unit mldsa_portable;
#if defined(__x86_64__)
extern const struct mldsa_unit mldsa_avx2, mldsa_avx512;
#endif

/* The unit for a path of enum qpher_cpu_path. */
const struct mldsa_unit *mldsa_unit_for(int path);

/* ---- Modular arithmetic ---------------------------------------------------------------- */

/* a * 2^-32 mod q. In: |a| < 2^31 * q. Out: |r| < q. */
static inline int32_t mldsa_montgomery(int64_t a)
{
    const int32_t m = (int32_t)((uint32_t)a * (uint32_t)MLDSA_QINV);
    return (int32_t)((a - (int64_t)m * MLDSA_Q) >> 32);
}

/* a mod q in [0, q). In: |a| < q. */
static inline int32_t mldsa_positive(int32_t a)
{
    return a + (MLDSA_Q & (a >> 31));
}

#endif
