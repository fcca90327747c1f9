/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of ML-KEM in plain C, and the choice of a unit. */
#include <string.h>

#include "bytes.h"
#include "ct.h"
#include "mlkem_poly.h"

/* ---- NTT (section 4.3) ----------------------------------------------------------------------- */

static void reduce(int16_t *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c[i] = mlkem_times(c[i], 1, MLKEM_ONE_QUOTIENT);
}

/* Each of the seven layers adds less than 1.25q: |c| grows by (2.03, 3.1, 4.2, 5.3, 6.4, 7.6) to
 * 8.8q, below 2^15. */
static void ntt(mlkem_poly *p)
{
    unsigned k = 1;
    for (unsigned len = 128; len >= 2; len >>= 1) {
        for (unsigned start = 0; start < MLKEM_N; start += 2 * len) {
            const int16_t zeta = mlkem_zetas[k], quotient = mlkem_zetas_quotient[k];
            int16_t *a = p->c + start, *b = a + len;
            k++;
            for (unsigned j = 0; j < len; j++) {
                const int16_t t = mlkem_times(b[j], zeta, quotient);
                b[j] = (int16_t)(a[j] - t);
                a[j] = (int16_t)(a[j] + t);
            }
        }
    }
    reduce(p->c, MLKEM_N);
}

/* Sums double from layer to layer, differences come out near. Reducing the sums of layers len = 4
 * and len = 16 keeps |c| below 9.9q < 2^15: 2.2q, 4.4q; 2.4q, 4.7q; 2.4q, 4.8q, 9.6q. */
static void intt(mlkem_poly *p)
{
    unsigned k = MLKEM_N / 2 - 1;
    for (unsigned len = 2; len <= 128; len <<= 1) {
        for (unsigned start = 0; start < MLKEM_N; start += 2 * len) {
            const int16_t zeta = mlkem_zetas[k], quotient = mlkem_zetas_quotient[k];
            int16_t *a = p->c + start, *b = a + len;
            k--;
            for (unsigned j = 0; j < len; j++) {
                const int16_t difference = (int16_t)(b[j] - a[j]);
                a[j] = (int16_t)(a[j] + b[j]);
                b[j] = mlkem_times(difference, zeta, quotient);
            }
            if (len == 4 || len == 16)
                reduce(a, len);
        }
    }
    for (unsigned i = 0; i < MLKEM_N; i++)
        p->c[i] = mlkem_times(p->c[i], MLKEM_INTT_FACTOR, MLKEM_INTT_QUOTIENT);
}

static void prepare(mlkem_factor *f, const mlkem_poly *b)
{
    for (unsigned i = 0; i < MLKEM_N; i++)
        f->even[i] = mlkem_times(b->c[i], mlkem_pair_zetas[i], mlkem_pair_quotients[i]);
    for (unsigned i = 0; i < MLKEM_N; i += 2) {
        f->odd[i] = b->c[i + 1];
        f->odd[i + 1] = b->c[i];
    }
}

/* Each product adds at most 2 * (1.25q)^2 to a sum: with k = 4 below 12.5 q^2 < 2^28, which
 * mlkem_montgomery takes to 0.64q + q/2. */
static void dot(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_factor *b,
                unsigned k)
{
    int32_t even[MLKEM_N / 2] = {0}, odd[MLKEM_N / 2] = {0};
    for (unsigned j = 0; j < k; j++) {
        const int16_t *x = a[j * stride].c, *y = b[j].even, *z = b[j].odd;
        for (unsigned i = 0; i < MLKEM_N / 2; i++) {
            even[i] += x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
            odd[i] += x[2 * i] * z[2 * i] + x[2 * i + 1] * z[2 * i + 1];
        }
    }
    for (unsigned i = 0; i < MLKEM_N / 2; i++) {
        r->c[2 * i] = mlkem_montgomery(even[i]);
        r->c[2 * i + 1] = mlkem_montgomery(odd[i]);
    }
    qpher_wipe(even, sizeof even);
    qpher_wipe(odd, sizeof odd);
}

static void finish(mlkem_poly *t, const mlkem_poly *e)
{
    for (unsigned i = 0; i < MLKEM_N; i++) {
        const int16_t sum = (int16_t)(mlkem_times(t->c[i], MLKEM_R, MLKEM_R_QUOTIENT) + e->c[i]);
        t->c[i] = mlkem_canonical(mlkem_times(sum, 1, MLKEM_ONE_QUOTIENT));
    }
}

static void canonical(mlkem_poly *p)
{
    for (unsigned i = 0; i < MLKEM_N; i++)
        p->c[i] = mlkem_canonical(mlkem_times(p->c[i], 1, MLKEM_ONE_QUOTIENT));
}

/* ---- Sampling (section 4.2.2) ---------------------------------------------------------------- */

static unsigned reject_uniform(mlkem_poly *r, unsigned have, const uint8_t *in, unsigned len)
{
    int16_t *c = r->c;
    unsigned i = 0;
    /* Every candidate is written, and counted if it is accepted. */
    for (; i < len && have < MLKEM_N - 1; i += 3) {
        const uint32_t three = load24_le(in + i);
        const int16_t d1 = three & 0xfff, d2 = (int16_t)(three >> 12);
        c[have] = d1;
        have += d1 < MLKEM_Q;
        c[have] = d2;
        have += d2 < MLKEM_Q;
    }
    for (; i < len && have < MLKEM_N; i += 3) { /* one is missing */
        const uint32_t three = load24_le(in + i);
        const int16_t d1 = three & 0xfff, d2 = (int16_t)(three >> 12);
        c[have] = d1 < MLKEM_Q ? d1 : d2;
        have += d1 < MLKEM_Q || d2 < MLKEM_Q;
    }
    return have;
}

/* A coefficient is bits 0 and 1 minus bits 2 and 3 of each nibble. */
static void cbd2(mlkem_poly *p, const uint8_t *in)
{
    for (unsigned i = 0; i < MLKEM_N / 8; i++) {
        const uint32_t t = load32_le(in + 4 * i);
        const uint32_t d = (t & 0x55555555) + ((t >> 1) & 0x55555555);
        for (unsigned j = 0; j < 8; j++)
            p->c[8 * i + j] = (int16_t)((int)((d >> (4 * j)) & 3) - (int)((d >> (4 * j + 2)) & 3));
    }
}

/* Six bits a coefficient. */
static void cbd3(mlkem_poly *p, const uint8_t *in)
{
    for (unsigned i = 0; i < MLKEM_N / 4; i++) {
        const uint32_t t = load24_le(in + 3 * i);
        const uint32_t d = (t & 0x249249) + ((t >> 1) & 0x249249) + ((t >> 2) & 0x249249);
        for (unsigned j = 0; j < 4; j++)
            p->c[4 * i + j] = (int16_t)((int)((d >> (6 * j)) & 7) - (int)((d >> (6 * j + 3)) & 7));
    }
}

/* ---- Encoding (section 4.2.1); d is a constant wherever these are inlined ---------------------- */

/* Eight fields of d <= 12 bits are d bytes. */
static inline void pack8(uint8_t *out, const uint16_t x[8], unsigned d)
{
    uint64_t low = 0, high = 0;
    for (unsigned j = 0; j < 4; j++) {
        low |= (uint64_t)x[j] << (d * j);
        high |= (uint64_t)x[j + 4] << (d * j);
    }
    low |= high << (4 * d);
    high >>= 64 - 4 * d;
    for (unsigned j = 0; j < d; j++)
        out[j] = (uint8_t)(j < 8 ? low >> (8 * j) : high >> (8 * (j - 8)));
}

static inline void unpack8(uint16_t x[8], const uint8_t *in, unsigned d)
{
    const uint64_t mask = (1u << d) - 1;
    uint64_t low = 0, high = 0;
    for (unsigned j = 0; j < d; j++) {
        if (j < 8)
            low |= (uint64_t)in[j] << (8 * j);
        else
            high |= (uint64_t)in[j] << (8 * (j - 8));
    }
    high = high << (64 - 4 * d) | low >> (4 * d);
    for (unsigned j = 0; j < 4; j++) {
        x[j] = (uint16_t)(low >> (d * j) & mask);
        x[j + 4] = (uint16_t)(high >> (d * j) & mask);
    }
}

static void encode12(uint8_t out[MLKEM_POLY_BYTES], const mlkem_poly *p)
{
    for (unsigned i = 0; i < MLKEM_N; i += 8) {
        uint16_t x[8];
        for (unsigned j = 0; j < 8; j++)
            x[j] = (uint16_t)p->c[i + j];
        pack8(out + i / 8 * 12, x, 12);
    }
}

static void decode12(mlkem_poly *p, const uint8_t in[MLKEM_POLY_BYTES])
{
    for (unsigned i = 0; i < MLKEM_N; i += 8) {
        uint16_t x[8];
        unpack8(x, in + i / 8 * 12, 12);
        for (unsigned j = 0; j < 8; j++)
            p->c[i + j] = (int16_t)x[j];
    }
}

/* Compress_d(x) = round(2^d x / q) modulo 2^d (4.7), for every x of 16 bits: an estimate that is
 * off by less than one, and what it leaves of 2^d x, which tells the direction. There are no ties,
 * because q is odd. */
static inline uint16_t compress_one(int16_t x, unsigned d)
{
    const int32_t reciprocal = (int32_t)(((2u << (15 + d)) + MLKEM_Q) / (2 * MLKEM_Q));
    int32_t y = (x * reciprocal + (1 << 14)) >> 15;
    const int32_t rest = x * (1 << d) - y * MLKEM_Q;
    y -= (MLKEM_Q / 2 - rest) >> 31;
    y += (MLKEM_Q / 2 + rest) >> 31;
    return (uint16_t)(y & ((1 << d) - 1));
}

static inline void compress_d(uint8_t *out, const mlkem_poly *a, const mlkem_poly *b, unsigned d)
{
    for (unsigned i = 0; i < MLKEM_N; i += 8) {
        uint16_t x[8];
        for (unsigned j = 0; j < 8; j++)
            x[j] = compress_one((int16_t)(a->c[i + j] + b->c[i + j]), d);
        pack8(out + i / 8 * d, x, d);
    }
}

/* Decompress_d(y) = round(q y / 2^d) (4.8). */
static inline void decompress_d(mlkem_poly *p, const uint8_t *in, unsigned d)
{
    for (unsigned i = 0; i < MLKEM_N; i += 8) {
        uint16_t x[8];
        unpack8(x, in + i / 8 * d, d);
        for (unsigned j = 0; j < 8; j++)
            p->c[i + j] = (int16_t)(((uint32_t)x[j] * MLKEM_Q + (1u << (d - 1))) >> d);
    }
}

static void compress(uint8_t *out, const mlkem_poly *a, const mlkem_poly *b, unsigned d)
{
    if (d == 4)
        compress_d(out, a, b, 4);
    else if (d == 5)
        compress_d(out, a, b, 5);
    else if (d == 10)
        compress_d(out, a, b, 10);
    else
        compress_d(out, a, b, 11);
}

static void decompress(mlkem_poly *p, const uint8_t *in, unsigned d)
{
    if (d == 4)
        decompress_d(p, in, 4);
    else if (d == 5)
        decompress_d(p, in, 5);
    else if (d == 10)
        decompress_d(p, in, 10);
    else
        decompress_d(p, in, 11);
}

static void add_message(mlkem_poly *p, const uint8_t m[MLKEM_SYM_BYTES])
{
    for (unsigned i = 0; i < MLKEM_N; i++) {
        /* The barrier keeps bits of the message from becoming branches. */
        const uint32_t bit = ct_barrier32((uint32_t)m[i / 8] >> (i % 8)) & 1;
        p->c[i] = (int16_t)(p->c[i] + (int16_t)(MLKEM_MESSAGE_ONE & (0u - bit)));
    }
}

static void get_message(uint8_t m[MLKEM_SYM_BYTES], const mlkem_poly *v, const mlkem_poly *w)
{
    for (unsigned i = 0; i < MLKEM_N; i += 8) {
        unsigned byte = 0;
        for (unsigned j = 0; j < 8; j++)
            byte |= (unsigned)compress_one((int16_t)(v->c[i + j] - w->c[i + j]), 1) << j;
        m[i / 8] = (uint8_t)byte;
    }
}

static uint32_t differ(const uint8_t *a, const uint8_t *b, unsigned n)
{
    uint32_t any = 0;
    for (unsigned i = 0; i < n; i++)
        any |= (uint32_t)(a[i] ^ b[i]);
    return any;
}

const struct mlkem_unit mlkem_portable = {
    .ntt = ntt,
    .intt = intt,
    .prepare = prepare,
    .dot = dot,
    .finish = finish,
    .canonical = canonical,
    .reject_uniform = reject_uniform,
    .cbd2 = cbd2,
    .cbd3 = cbd3,
    .encode12 = encode12,
    .decode12 = decode12,
    .compress = compress,
    .decompress = decompress,
    .add_message = add_message,
    .get_message = get_message,
    .differ = differ,
};

const struct mlkem_unit *mlkem_unit_for(int path)
{
#if defined(__x86_64__)
    if (path == QPHER_CPU_AVX512)
        return &mlkem_avx512;
    if (path == QPHER_CPU_AVX2)
        return &mlkem_avx2;
#else
    (void)path;
#endif
    return &mlkem_portable;
}
