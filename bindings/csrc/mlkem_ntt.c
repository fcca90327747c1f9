/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: the number-theoretic transform and arithmetic modulo q (FIPS 203 section 4.3). */
#include "mlkem_poly.h"

enum {
    Q_INV = -3327,    /* q^-1 modulo 2^16 */
    BARRETT = 20159,  /* round(2^26 / q) */
    MONT_SQUARED = 1353, /* 2^32 modulo q */
    INV_NTT_SCALE = 1441 /* 2^32 / 128 modulo q */
};

/* zeta^BitRev7(i) * 2^16 modulo q, reduced, with zeta = 17 (FIPS 203 Appendix A). */
static const int16_t zetas[128] = {
    -1044,  -758,  -359, -1517,  1493,  1422,   287,   202,
     -171,   622,  1577,   182,   962, -1202, -1474,  1468,
      573, -1325,   264,   383,  -829,  1458, -1602,  -130,
     -681,  1017,   732,   608, -1542,   411,  -205, -1571,
     1223,   652,  -552,  1015, -1293,  1491,  -282, -1544,
      516,    -8,  -320,  -666, -1618, -1162,   126,  1469,
     -853,   -90,  -271,   830,   107, -1421,  -247,  -951,
     -398,   961, -1508,  -725,   448, -1065,   677, -1275,
    -1103,   430,   555,   843, -1251,   871,  1550,   105,
      422,   587,   177,  -235,  -291,  -460,  1574,  1653,
     -246,   778,  1159,  -147,  -777,  1483,  -602,  1119,
    -1590,   644,  -872,   349,   418,   329,  -156,   -75,
      817,  1097,   603,   610,  1322, -1285, -1465,   384,
    -1215,  -136,  1218, -1335,  -874,   220, -1187, -1659,
    -1185, -1530, -1278,   794, -1510,  -854,  -870,   478,
     -108,  -308,   996,   991,   958, -1460,  1522,  1628,
};

/* a * 2^-16 modulo q. In: |a| < 2^15 * q. Out: bounded by q. */
static int16_t montgomery_reduce(int32_t a)
{
    const int16_t t = (int16_t)((int16_t)a * Q_INV);
    return (int16_t)((a - (int32_t)t * MLKEM_Q) >> 16);
}

/* In: any. Out: reduced. */
static int16_t barrett_reduce(int16_t a)
{
    const int16_t t = (int16_t)((BARRETT * (int32_t)a + (1 << 25)) >> 26);
    return (int16_t)(a - t * MLKEM_Q);
}

static int16_t mul(int16_t a, int16_t b)
{
    return montgomery_reduce((int32_t)a * b);
}

void mlkem_ntt(mlkem_poly *p)
{
    int16_t *c = p->c;
    unsigned z = 1;
    /* Each of the seven layers adds less than q: bounded by 8q < 2^15 at the end. */
    for (unsigned len = 128; len >= 2; len >>= 1) {
        for (unsigned start = 0; start < MLKEM_N; start += 2 * len) {
            const int16_t zeta = zetas[z++];
            for (unsigned j = start; j < start + len; j++) {
                const int16_t t = mul(zeta, c[j + len]);
                c[j + len] = (int16_t)(c[j] - t);
                c[j] = (int16_t)(c[j] + t);
            }
        }
    }
    for (unsigned i = 0; i < MLKEM_N; i++)
        c[i] = barrett_reduce(c[i]);
}

void mlkem_inv_ntt(mlkem_poly *p)
{
    int16_t *c = p->c;
    unsigned z = 127;
    for (unsigned i = 0; i < MLKEM_N; i++)
        c[i] = barrett_reduce(c[i]);
    for (unsigned len = 2; len <= 128; len <<= 1) {
        for (unsigned start = 0; start < MLKEM_N; start += 2 * len) {
            const int16_t zeta = zetas[z--];
            for (unsigned j = start; j < start + len; j++) {
                const int16_t t = c[j];
                c[j] = barrett_reduce((int16_t)(t + c[j + len]));
                c[j + len] = mul(zeta, (int16_t)(c[j + len] - t)); /* bounded by 2q before */
            }
        }
    }
    for (unsigned i = 0; i < MLKEM_N; i++)
        c[i] = mul(c[i], INV_NTT_SCALE);
}

/* Algorithm 12, BaseCaseMultiply, added to r: (a0 + a1 X)(b0 + b1 X) modulo X^2 - zeta.
 * Each call adds less than 2q to either coefficient. */
static void base_multiply_add(int16_t r[2], const int16_t a[2], const int16_t b[2], int16_t zeta)
{
    r[0] = (int16_t)(r[0] + mul(mul(a[1], b[1]), zeta) + mul(a[0], b[0]));
    r[1] = (int16_t)(r[1] + mul(a[0], b[1]) + mul(a[1], b[0]));
}

void mlkem_dot(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_poly *b,
               unsigned k)
{
    for (unsigned i = 0; i < MLKEM_N; i += 4) {
        const int16_t zeta = zetas[64 + i / 4];
        int16_t sum[4] = {0, 0, 0, 0}; /* bounded by 2qk <= 8q */
        for (unsigned j = 0; j < k; j++) {
            const int16_t *x = a[j * stride].c + i, *y = b[j].c + i;
            base_multiply_add(sum, x, y, zeta);
            base_multiply_add(sum + 2, x + 2, y + 2, (int16_t)-zeta);
        }
        for (unsigned j = 0; j < 4; j++)
            r->c[i + j] = barrett_reduce(sum[j]);
    }
}

void mlkem_to_mont(mlkem_poly *p)
{
    for (unsigned i = 0; i < MLKEM_N; i++)
        p->c[i] = mul(p->c[i], MONT_SQUARED);
}

void mlkem_add(mlkem_poly *r, const mlkem_poly *a)
{
    for (unsigned i = 0; i < MLKEM_N; i++)
        r->c[i] = (int16_t)(r->c[i] + a->c[i]);
}

void mlkem_sub(mlkem_poly *r, const mlkem_poly *a)
{
    for (unsigned i = 0; i < MLKEM_N; i++)
        r->c[i] = (int16_t)(r->c[i] - a->c[i]);
}

void mlkem_canonical(mlkem_poly *p)
{
    for (unsigned i = 0; i < MLKEM_N; i++) {
        const int16_t r = barrett_reduce(p->c[i]);
        p->c[i] = (int16_t)(r + ((r >> 15) & MLKEM_Q));
    }
}
