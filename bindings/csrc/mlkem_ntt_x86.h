/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of ML-KEM in the NTT domain (FIPS 203 section 4.3), written once for both widths.
 *
 * A unit defines, then includes this file:
 *   vec, LANES          a register of LANES coefficients, 16 or 32
 *   load, store, add, sub, mullo, mulhi, min_unsigned, set1    on 16-bit lanes
 *   opaque(x)           set1(x), but the compiler does not see that it is a constant: it would
 *                       make shifts and sums of the products with it, which take longer
 *   add32, madd         on 32-bit lanes; madd sums the products of neighbours
 *   shift_up, shift_down    each 32-bit lane by 16 bits, zeros coming in
 *   odd_from(a, b)      the even 16-bit lanes of a and the odd ones of b
 *   split16, split8, split4, split2, join, unjoin    the order within two vectors, see below
 * and gets the functions of struct mlkem_unit below. */

/* mlkem_times in each lane. */
static inline vec multiply(vec a, vec zeta, vec quotient, vec q)
{
    return sub(mullo(a, zeta), mullo(mulhi(a, quotient), q));
}

static inline vec reduce(vec a, vec q)
{
    return sub(a, mullo(mulhi(a, set1(MLKEM_ONE_QUOTIENT)), q));
}

/* mlkem_canonical in each lane: of x and x + q, and of x and x - q, the one that is not negative
 * is the smaller unsigned number. */
static inline vec canonical_lanes(vec x, vec q)
{
    x = min_unsigned(x, add(x, q));
    return min_unsigned(x, sub(x, q));
}

/* ---- NTT --------------------------------------------------------------------------------------- */

static inline void butterfly(vec *a, vec *b, vec zeta, vec quotient, vec q)
{
    const vec t = multiply(*b, zeta, quotient, q);
    *b = sub(*a, t);
    *a = add(*a, t);
}

static inline void butterfly_by_one(vec *a, vec *b, unsigned k, vec q)
{
    butterfly(a, b, set1(mlkem_zetas[k]), set1(mlkem_zetas_quotient[k]), q);
}

/* Layer len = 16 >> layer of two vectors, whose first butterfly is number i. */
static inline void butterfly_lanes(vec *a, vec *b, unsigned layer, unsigned i, vec q)
{
    butterfly(a, b, load(mlkem_lane_zetas[layer] + i), load(mlkem_lane_quotients[layer] + i), q);
}

/* Algorithm 9. Three layers on eight vectors that lie 32 coefficients apart, then four within two
 * neighbours; before each of those the blocks are split in two, lower halves to the first vector.
 * Ranges as in mlkem_portable.c. */
static inline void ntt_lanes(mlkem_poly *p)
{
    const vec q = opaque(MLKEM_Q);
    for (unsigned i = 0; i < 32; i += LANES) {
        vec x[8];
        for (unsigned j = 0; j < 8; j++)
            x[j] = load(p->c + 32 * j + i);
        for (unsigned j = 0; j < 4; j++)
            butterfly_by_one(&x[j], &x[j + 4], 1, q);
        for (unsigned j = 0; j < 8; j += 4)
            for (unsigned m = j; m < j + 2; m++)
                butterfly_by_one(&x[m], &x[m + 2], 2 + j / 4, q);
        for (unsigned j = 0; j < 8; j += 2)
            butterfly_by_one(&x[j], &x[j + 1], 4 + j / 2, q);
        for (unsigned j = 0; j < 8; j++)
            store(p->c + 32 * j + i, x[j]);
    }
    for (unsigned i = 0; i < MLKEM_N / 2; i += LANES) {
        vec a = load(p->c + 2 * i), b = load(p->c + 2 * i + LANES);
        split16(&a, &b);
        butterfly_lanes(&a, &b, 0, i, q);
        split8(&a, &b);
        butterfly_lanes(&a, &b, 1, i, q);
        split4(&a, &b);
        butterfly_lanes(&a, &b, 2, i, q);
        split2(&a, &b);
        butterfly_lanes(&a, &b, 3, i, q);
        join(&a, &b);
        store(p->c + 2 * i, reduce(a, q));
        store(p->c + 2 * i + LANES, reduce(b, q));
    }
}

/* One butterfly of algorithm 10. */
static inline void unbutterfly(vec *a, vec *b, vec zeta, vec quotient, vec q)
{
    const vec difference = sub(*b, *a);
    *a = add(*a, *b);
    *b = multiply(difference, zeta, quotient, q);
}

static inline void unbutterfly_by_one(vec *a, vec *b, unsigned k, vec q)
{
    unbutterfly(a, b, set1(mlkem_zetas[k]), set1(mlkem_zetas_quotient[k]), q);
}

static inline void unbutterfly_lanes(vec *a, vec *b, unsigned layer, unsigned i, vec q)
{
    unbutterfly(a, b, load(mlkem_lane_inverse_zetas[layer] + i),
                load(mlkem_lane_inverse_quotients[layer] + i), q);
}

/* Algorithm 10 times 2^16. Each split is its own inverse. */
static inline void intt_lanes(mlkem_poly *p)
{
    const vec q = opaque(MLKEM_Q);
    for (unsigned i = 0; i < MLKEM_N / 2; i += LANES) {
        vec a = load(p->c + 2 * i), b = load(p->c + 2 * i + LANES);
        unjoin(&a, &b);
        unbutterfly_lanes(&a, &b, 3, i, q);
        split2(&a, &b);
        unbutterfly_lanes(&a, &b, 2, i, q);
        a = reduce(a, q);
        split4(&a, &b);
        unbutterfly_lanes(&a, &b, 1, i, q);
        split8(&a, &b);
        unbutterfly_lanes(&a, &b, 0, i, q);
        a = reduce(a, q);
        split16(&a, &b);
        store(p->c + 2 * i, a);
        store(p->c + 2 * i + LANES, b);
    }
    for (unsigned i = 0; i < 32; i += LANES) {
        vec x[8];
        for (unsigned j = 0; j < 8; j++)
            x[j] = load(p->c + 32 * j + i);
        for (unsigned j = 0; j < 8; j += 2)
            unbutterfly_by_one(&x[j], &x[j + 1], 7 - j / 2, q);
        for (unsigned j = 0; j < 8; j += 4)
            for (unsigned m = j; m < j + 2; m++)
                unbutterfly_by_one(&x[m], &x[m + 2], 3 - j / 4, q);
        for (unsigned j = 0; j < 4; j++)
            unbutterfly_by_one(&x[j], &x[j + 4], 1, q);
        for (unsigned j = 0; j < 8; j++)
            store(p->c + 32 * j + i,
                  multiply(x[j], set1(MLKEM_INTT_FACTOR), set1(MLKEM_INTT_QUOTIENT), q));
    }
}

/* ---- Products ------------------------------------------------------------------------------------ */

static inline void prepare_lanes(mlkem_factor *f, const mlkem_poly *b)
{
    const vec q = opaque(MLKEM_Q);
    for (unsigned i = 0; i < MLKEM_N; i += LANES) {
        const vec x = load(b->c + i);
        store(f->even + i,
              multiply(x, load(mlkem_pair_zetas + i), load(mlkem_pair_quotients + i), q));
        store(f->odd + i, odd_from(shift_down(x), shift_up(x)));
    }
}

/* mlkem_montgomery in each lane: the sums for even lanes are in the 32-bit lanes of even, those
 * for odd lanes in odd. */
static inline vec montgomery(vec even, vec odd, vec q, vec qinv)
{
    const vec low = odd_from(even, shift_up(odd)), high = odd_from(shift_down(even), odd);
    return sub(high, mulhi(mullo(low, qinv), q));
}

/* k is a constant wherever this is inlined. */
static inline void dot_k(mlkem_poly *r, const mlkem_poly *a, unsigned stride,
                         const mlkem_factor *b, unsigned k)
{
    const vec q = opaque(MLKEM_Q), qinv = opaque(MLKEM_QINV);
    for (unsigned i = 0; i < MLKEM_N; i += LANES) {
        vec x = load(a->c + i);
        vec even = madd(x, load(b->even + i)), odd = madd(x, load(b->odd + i));
        for (unsigned j = 1; j < k; j++) {
            x = load(a[j * stride].c + i);
            even = add32(even, madd(x, load(b[j].even + i)));
            odd = add32(odd, madd(x, load(b[j].odd + i)));
        }
        store(r->c + i, montgomery(even, odd, q, qinv));
    }
}

static inline void dot_lanes(mlkem_poly *r, const mlkem_poly *a, unsigned stride,
                             const mlkem_factor *b, unsigned k)
{
    if (k == 2)
        dot_k(r, a, stride, b, 2);
    else if (k == 3)
        dot_k(r, a, stride, b, 3);
    else if (k == 4)
        dot_k(r, a, stride, b, 4);
    else
        dot_k(r, a, stride, b, 1);
}

static inline void finish_lanes(mlkem_poly *t, const mlkem_poly *e)
{
    const vec q = opaque(MLKEM_Q);
    for (unsigned i = 0; i < MLKEM_N; i += LANES) {
        const vec x = multiply(load(t->c + i), set1(MLKEM_R), set1(MLKEM_R_QUOTIENT), q);
        store(t->c + i, canonical_lanes(reduce(add(x, load(e->c + i)), q), q));
    }
}
