/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the AVX2 and AVX-512 units of ML-KEM; see struct mlkem_unit for what they do. */
#ifndef QPHER_MLKEM_X86_H
#define QPHER_MLKEM_X86_H

#include "mlkem_poly.h"

/* The zetas of the layers whose butterflies lie within a vector, len = 16, 8, 4 and 2, forwards
 * and backwards: butterfly i of a layer, in the order of its coefficients, takes element i. */
enum { MLKEM_LANE_LAYERS = 4 };
extern const int16_t mlkem_lane_zetas[MLKEM_LANE_LAYERS][MLKEM_N / 2];
extern const int16_t mlkem_lane_quotients[MLKEM_LANE_LAYERS][MLKEM_N / 2];
extern const int16_t mlkem_lane_inverse_zetas[MLKEM_LANE_LAYERS][MLKEM_N / 2];
extern const int16_t mlkem_lane_inverse_quotients[MLKEM_LANE_LAYERS][MLKEM_N / 2];

extern const uint64_t mlkem_compact[256];

void mlkem_ntt_avx2(mlkem_poly *p);
void mlkem_intt_avx2(mlkem_poly *p);
void mlkem_prepare_avx2(mlkem_factor *f, const mlkem_poly *b);
void mlkem_dot_avx2(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_factor *b,
                    unsigned k);
void mlkem_finish_avx2(mlkem_poly *t, const mlkem_poly *e);
void mlkem_ntt_avx512(mlkem_poly *p);
void mlkem_intt_avx512(mlkem_poly *p);
void mlkem_prepare_avx512(mlkem_factor *f, const mlkem_poly *b);
void mlkem_dot_avx512(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_factor *b,
                      unsigned k);
void mlkem_finish_avx512(mlkem_poly *t, const mlkem_poly *e);

/* Both units use these. */
void mlkem_canonical_avx2(mlkem_poly *p);
void mlkem_cbd3_avx2(mlkem_poly *p, const uint8_t *in);
uint32_t mlkem_differ_avx2(const uint8_t *a, const uint8_t *b, unsigned n);

/* ---- Fields of d bits --------------------------------------------------------------------------
 *
 * Four fields are joined to 4 * d bits in a 64-bit word; where d is odd the odd words stand half a
 * byte higher, so that each begins where its first bit has its place in a byte. A byte of the
 * packed fields is then the union of a byte of the word that begins it and one of the word that
 * ends it, often the same. */

#define MLKEM_WORD_BIT(d, i) (4 * (d) * (i) % 8)
#define MLKEM_BYTE_OF(d, n, bit, i)                                                              \
    (uint8_t)(8 * (i) + (8 * (n) + (bit) - 4 * (d) * (i) + MLKEM_WORD_BIT(d, i)) / 8)
#define MLKEM_BEGIN(d, n) MLKEM_BYTE_OF(d, n, 0, 2 * (n) / (d))
#define MLKEM_END(d, n) MLKEM_BYTE_OF(d, n, 7, (8 * (n) + 7) / (4 * (d)))

/* f(d, n), .., f(d, n + 7), and sixteen, and 64 of them. */
#define MLKEM_8(f, d, n)                                                                         \
    f(d, n), f(d, (n) + 1), f(d, (n) + 2), f(d, (n) + 3), f(d, (n) + 4), f(d, (n) + 5),          \
        f(d, (n) + 6), f(d, (n) + 7)
#define MLKEM_16(f, d, n) MLKEM_8(f, d, n), MLKEM_8(f, d, (n) + 8)
#define MLKEM_64(f, d)                                                                           \
    MLKEM_16(f, d, 0), MLKEM_16(f, d, 16), MLKEM_16(f, d, 32), MLKEM_16(f, d, 48)

/* round(2^(15 + d) / q): vpmulhrsw with it estimates Compress_d, as in mlkem_portable.c. */
#define MLKEM_RECIPROCAL(d) (int16_t)(((2u << (15 + (d))) + MLKEM_Q) / (2 * MLKEM_Q))

#endif
