/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on one coefficient after the other, for inclusion by every unit of ML-DSA: plain C
 * that the compiler turns into vector code for the target of that unit. Constant time. */
#ifndef QPHER_MLDSA_ELEMENTWISE_H
#define QPHER_MLDSA_ELEMENTWISE_H

#include "mldsa_poly.h"
#include "mlkem_poly.h"

/* The nearest multiple of 2^23, which is q plus a little, tells how many q to take away. */
static void add(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b)
{
    for (unsigned i = 0; i < MLDSA_N; i++) {
        const int32_t x = a->c[i] + b->c[i];
        r->c[i] = x - ((x + (1 << 22)) >> 23) * MLDSA_Q;
    }
}

/* bound - 1 - |c| is negative exactly where |c| >= bound. */
static uint32_t exceeds(const mldsa_poly *a, int32_t bound)
{
    int32_t any = 0;
    for (unsigned i = 0; i < MLDSA_N; i++) {
        const int32_t sign = a->c[i] >> 31;
        any |= bound - 1 - ((a->c[i] ^ sign) - sign);
    }
    return (uint32_t)any >> 31;
}

/* Both at once for a product of mldsa_short.h, which stands for its class near 0 modulo the prime of
 * ML-KEM. */
static uint32_t add_short(mldsa_poly *r, const int16_t product[MLDSA_N], int32_t bound)
{
    int32_t any = 0;
    for (unsigned i = 0; i < MLDSA_N; i++) {
        const int32_t x = product[i];
        const int32_t c = r->c[i] + x - (MLKEM_Q & ((MLKEM_Q / 2 - x) >> 31)), sign = c >> 31;
        any |= bound - 1 - ((c ^ sign) - sign);
        r->c[i] = c;
    }
    return (uint32_t)any >> 31;
}

/* Algorithm 35, Power2Round: t0 in (-2^12, 2^12]. */
static void power2round(mldsa_poly *t1, mldsa_poly *t0, const mldsa_poly *t)
{
    for (unsigned i = 0; i < MLDSA_N; i++) {
        const int32_t r = mldsa_positive(t->c[i]);
        const int32_t high = (r + (1 << (MLDSA_D - 1)) - 1) >> MLDSA_D;
        t1->c[i] = high;
        t0->c[i] = r - (high << MLDSA_D);
    }
}

/* floor(x / (2*gamma2)) by a multiplication, exact for 0 <= x < q + gamma2:
 * 2*gamma2 is 1023 * 2^9 or 93 * 2^11, and 65601 = ceil(2^26 / 1023), 11276 = ceil(2^20 / 93). */
struct rounding {
    int32_t gamma2, count, factor; /* count: number of high parts, (q - 1) / (2*gamma2) */
    int shift, shift_after;
};

static inline struct rounding rounding_of(int32_t gamma2)
{
    return gamma2 == (MLDSA_Q - 1) / 32 ? (struct rounding){gamma2, 16, 65601, 9, 26}
                                        : (struct rounding){gamma2, 44, 11276, 11, 20};
}

/* Algorithm 36, Decompose: r1 is returned and r0 in [-gamma2, gamma2] written. Where r - r0
 * would be q - 1, r1 becomes 0 and r0 one less. */
static inline int32_t decompose_one(int32_t *r0, int32_t w, struct rounding p)
{
    const int32_t r = mldsa_positive(w);
    const int32_t quotient = (((r + p.gamma2 - 1) >> p.shift) * p.factor) >> p.shift_after;
    const int32_t inside = (quotient - p.count) >> 31; /* all ones unless quotient = count */
    *r0 = r - quotient * 2 * p.gamma2 + ~inside;
    return quotient & inside;
}

static void decompose(uint8_t w1[MLDSA_N], mldsa_poly *w0, const mldsa_poly *w, int32_t gamma2)
{
    const struct rounding p = rounding_of(gamma2);
    for (unsigned i = 0; i < MLDSA_N; i++)
        w1[i] = (uint8_t)decompose_one(&w0->c[i], w->c[i], p);
}

/* With w = w1 * 2*gamma2 + w0, the high bits of w are w1 exactly if w0 is in (-gamma2, gamma2],
 * or w1 = 0 and w0 = -gamma2 (the wrap at q - 1). */
static unsigned make_hint(uint8_t h[MLDSA_N], const mldsa_poly *w0, const uint8_t w1[MLDSA_N],
                          int32_t gamma2)
{
    uint32_t ones = 0;
    for (unsigned i = 0; i < MLDSA_N; i++) {
        const int32_t zero = ((int32_t)w1[i] - 1) >> 31; /* all ones if w1 = 0 */
        const int32_t above = gamma2 - w0->c[i];
        const int32_t below = w0->c[i] + gamma2 - 1 - zero;
        const uint32_t bit = (uint32_t)(above | below) >> 31;
        h[i] = (uint8_t)bit;
        ones += bit;
    }
    return ones;
}

/* Algorithm 40, UseHint: one step towards the side of r0, modulo count. */
static void use_hint(uint8_t w1[MLDSA_N], const mldsa_poly *w, const uint8_t h[MLDSA_N],
                     int32_t gamma2)
{
    const struct rounding p = rounding_of(gamma2);
    for (unsigned i = 0; i < MLDSA_N; i++) {
        int32_t r0;
        int32_t r1 = decompose_one(&r0, w->c[i], p);
        const int32_t down = (r0 - 1) >> 31; /* all ones if r0 <= 0 */
        r1 += (1 | down) & -(int32_t)h[i];
        r1 += p.count & (r1 >> 31);
        r1 &= (r1 - p.count) >> 31;
        w1[i] = (uint8_t)r1;
    }
}

#endif
