/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: encoding and compression (FIPS 203 section 4.2.1). */
#include <string.h>

#include "ct.h"
#include "mlkem_poly.h"

void mlkem_encode12(uint8_t out[MLKEM_POLY_BYTES], const mlkem_poly *p)
{
    for (unsigned i = 0; i < MLKEM_N / 2; i++) {
        const unsigned a = (unsigned)p->c[2 * i], b = (unsigned)p->c[2 * i + 1];
        out[3 * i] = (uint8_t)a;
        out[3 * i + 1] = (uint8_t)(a >> 8 | b << 4);
        out[3 * i + 2] = (uint8_t)(b >> 4);
    }
}

void mlkem_decode12(mlkem_poly *p, const uint8_t in[MLKEM_POLY_BYTES])
{
    for (unsigned i = 0; i < MLKEM_N / 2; i++) {
        const unsigned a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
        p->c[2 * i] = (int16_t)(a | (b & 15) << 8);
        p->c[2 * i + 1] = (int16_t)(b >> 4 | c << 4);
    }
}

/* Compress_d(x) = floor((2^d x + (q-1)/2) / q) modulo 2^d, which is (4.7) because q is odd. The
 * division is a multiplication by ceil(2^36 / q): exact while the numerator is below 2^24. */
static uint32_t compress(uint32_t x, unsigned d)
{
    const uint64_t reciprocal = ((uint64_t)1 << 36) / MLKEM_Q + 1;
    const uint64_t numerator = ((uint64_t)x << d) + (MLKEM_Q - 1) / 2;
    return (uint32_t)(numerator * reciprocal >> 36) & ((1u << d) - 1);
}

void mlkem_compress(uint8_t *out, const mlkem_poly *p, unsigned d)
{
    uint32_t buffer = 0;
    unsigned bits = 0; /* in buffer; depends on d and the position alone */
    for (unsigned i = 0; i < MLKEM_N; i++) {
        buffer |= compress((uint32_t)p->c[i], d) << bits;
        for (bits += d; bits >= 8; bits -= 8) {
            *out++ = (uint8_t)buffer;
            buffer >>= 8;
        }
    }
}

void mlkem_decompress(mlkem_poly *p, const uint8_t *in, unsigned d)
{
    uint32_t buffer = 0;
    unsigned bits = 0;
    for (unsigned i = 0; i < MLKEM_N; i++) {
        for (; bits < d; bits += 8)
            buffer |= (uint32_t)*in++ << bits;
        /* The barrier keeps bits of the message (d = 1) from becoming branches. */
        const uint32_t y = ct_barrier32(buffer) & ((1u << d) - 1);
        p->c[i] = (int16_t)((y * MLKEM_Q + (1u << (d - 1))) >> d);
        buffer >>= d;
        bits -= d;
    }
}
