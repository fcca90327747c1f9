/* SPDX-License-Identifier: Apache-2.0 */
/* Polynomials of FIPS 203 and the table of operations that a code path implements.
 *
 * Z_q with q = 3329. A coefficient is an int16_t that stands for its class modulo q; each operation
 * states the range that it takes and the range that it gives: "canonical" is 0 <= c < q, "near" is
 * -0.25q < c < 1.25q, where mlkem_times leaves its results. NTT-domain polynomials are in the order
 * of the standard on every path, so objects made on one path mean the same on another. */
#ifndef QPHER_MLKEM_POLY_H
#define QPHER_MLKEM_POLY_H

#include <stdint.h>

enum { MLKEM_N = 256, MLKEM_Q = 3329, MLKEM_MAX_K = 4 };
enum { MLKEM_SYM_BYTES = 32, MLKEM_POLY_BYTES = 384, MLKEM_MAX_EK = 1568, MLKEM_MAX_CT = 1568 };

enum {
    MLKEM_QINV = -3327,           /* q^-1 mod+- 2^16 */
    MLKEM_ONE_QUOTIENT = 20,      /* round(2^16 / q): times one, which only reduces */
    MLKEM_R = -1044,              /* 2^16 mod+- q */
    MLKEM_R_QUOTIENT = -20553,    /* round(R * 2^16 / q) */
    MLKEM_INTT_FACTOR = 512,      /* 2^16 / 128 mod+- q: undoes 2^-16, and the 128 of the NTT */
    MLKEM_INTT_QUOTIENT = 10079,  /* round(INTT_FACTOR * 2^16 / q) */
    MLKEM_MESSAGE_ONE = 1665,     /* Decompress_1(1) */
};

typedef struct {
    _Alignas(64) int16_t c[MLKEM_N];
} mlkem_poly;

/* A factor in the NTT domain as dot takes it: pair i of a product, (a0 + a1 X)(b0 + b1 X) modulo
 * X^2 - gamma, is a0*b0 + a1*(b1*gamma) and a0*b1 + a1*b0 (algorithm 12). */
typedef struct {
    _Alignas(64) int16_t even[MLKEM_N]; /* b0, b1*gamma */
    int16_t odd[MLKEM_N];               /* b1, b0 */
} mlkem_factor;

extern const int16_t mlkem_zetas[MLKEM_N / 2], mlkem_zetas_quotient[MLKEM_N / 2];
extern const int16_t mlkem_pair_zetas[MLKEM_N], mlkem_pair_quotients[MLKEM_N];

struct mlkem_unit {
    /* Algorithm 9, in place. In: |c| <= q. Out: near. */
    void (*ntt)(mlkem_poly *p);
    /* Algorithm 10 times 2^16, in place. In: |c| < 1.1q. Out: near. */
    void (*intt)(mlkem_poly *p);
    /* In: near. Out: near. */
    void (*prepare)(mlkem_factor *f, const mlkem_poly *b);
    /* r = (a[0]*b[0] + a[stride]*b[1] + ..) * 2^-16, k products in the NTT domain (algorithm 11).
     * In: near. Out: |c| < 1.1q. */
    void (*dot)(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_factor *b,
                unsigned k);
    /* t = t * 2^16 + e. In: t any, e near. Out: canonical. */
    void (*finish)(mlkem_poly *t, const mlkem_poly *e);
    /* In: any. Out: canonical. */
    void (*canonical)(mlkem_poly *p);

    /* Inner loop of algorithm 7: appends accepted coefficients to the have that are there until 256
     * are; returns how many are. len is a multiple of 24. Out: canonical. */
    unsigned (*reject_uniform)(mlkem_poly *r, unsigned have, const uint8_t *in, unsigned len);
    /* Algorithm 8 for eta = 2 and eta = 3, from 64 * eta bytes. */
    void (*cbd2)(mlkem_poly *p, const uint8_t *in);
    void (*cbd3)(mlkem_poly *p, const uint8_t *in);

    /* Algorithms 5 and 6, ByteEncode_12 and ByteDecode_12. Encoding takes canonical coefficients;
     * decoding gives values below 2^12. */
    void (*encode12)(uint8_t out[MLKEM_POLY_BYTES], const mlkem_poly *p);
    void (*decode12)(mlkem_poly *p, const uint8_t in[MLKEM_POLY_BYTES]);
    /* ByteEncode_d(Compress_d(a + b)) and Decompress_d(ByteDecode_d(in)), d in {4, 5, 10, 11}, of
     * 32 * d bytes. In: any sum of 16 bits. Out: canonical. */
    void (*compress)(uint8_t *out, const mlkem_poly *a, const mlkem_poly *b, unsigned d);
    void (*decompress)(mlkem_poly *p, const uint8_t *in, unsigned d);
    /* p = p + Decompress_1(ByteDecode_1(m)), and m = ByteEncode_1(Compress_1(v - w)). */
    void (*add_message)(mlkem_poly *p, const uint8_t m[MLKEM_SYM_BYTES]);
    void (*get_message)(uint8_t m[MLKEM_SYM_BYTES], const mlkem_poly *v, const mlkem_poly *w);
    /* Nonzero if a and b differ in any of n bytes; in constant time. */
    uint32_t (*differ)(const uint8_t *a, const uint8_t *b, unsigned n);
};

extern const struct mlkem_unit mlkem_portable;
#if defined(__x86_64__)
extern const struct mlkem_unit mlkem_avx2, mlkem_avx512;
#endif

/* The unit for a path of enum qpher_cpu_path. */
const struct mlkem_unit *mlkem_unit_for(int path);

/* ---- Modular arithmetic ---------------------------------------------------------------- */

/* a * zeta mod q, with quotient = round(zeta * 2^16 / q): the quotient of the product by q is
 * rounded down, and off by at most |a| / 2^17 before that. Out: between -|a| * 0.0254 and
 * q + |a| * 0.0254; near for every a of 16 bits (|a| < 9.85q). */
static inline int16_t mlkem_times(int16_t a, int16_t zeta, int16_t quotient)
{
    const uint32_t multiple = (uint32_t)(((int32_t)a * quotient) >> 16);
    return (int16_t)((uint32_t)a * (uint32_t)zeta - multiple * MLKEM_Q);
}

/* sum * 2^-16 mod q. Out: |r| <= |sum| / 2^16 + q/2 + 1. */
static inline int16_t mlkem_montgomery(int32_t sum)
{
    const int16_t m = (int16_t)((uint32_t)sum * (uint32_t)MLKEM_QINV);
    return (int16_t)((sum >> 16) - (((int32_t)m * MLKEM_Q) >> 16));
}

/* From near to canonical. */
static inline int16_t mlkem_canonical(int16_t a)
{
    const int16_t b = (int16_t)(a + (MLKEM_Q & (a >> 15)) - MLKEM_Q);
    return (int16_t)(b + (MLKEM_Q & (b >> 15)));
}

#endif
