/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM (FIPS 203): parameter sets, polynomials, and the functions on them.
 *
 * Z_q with q = 3329; coefficients are signed 16-bit. "Reduced" means |c| <= (q-1)/2, "canonical"
 * means 0 <= c < q, "bounded by b" means |c| < b. Products in the NTT domain carry a factor
 * 2^-16, which mlkem_inv_ntt and mlkem_to_mont take out again. */
#ifndef QPHER_MLKEM_POLY_H
#define QPHER_MLKEM_POLY_H

#include <stdint.h>

enum { MLKEM_N = 256, MLKEM_Q = 3329, MLKEM_MAX_K = 4 };
enum { MLKEM_SYM_BYTES = 32, MLKEM_POLY_BYTES = 384, MLKEM_MAX_ETA = 3 };
enum { MLKEM_MAX_EK = 1568, MLKEM_MAX_CT = 1568 };

/* One parameter set (FIPS 203 section 8, Table 2); lengths in bytes. */
struct mlkem_params {
    unsigned k, eta1, eta2, du, dv;
    unsigned ek_len, dk_len, ct_len;
};

typedef struct {
    _Alignas(64) int16_t c[MLKEM_N];
} mlkem_poly;

/* ---- mlkem_ntt.c ------------------------------------------------------------------ */

/* Algorithm 9, NTT. In: bounded by q. Out: reduced, in bit-reversed order. */
void mlkem_ntt(mlkem_poly *p);

/* Algorithm 10, the inverse, times 2^16. In: bounded by 2^15. Out: bounded by q. */
void mlkem_inv_ntt(mlkem_poly *p);

/* Algorithm 11 summed over k products, times 2^-16: r = sum a[i * stride] * b[i].
 * In: a bounded by q, b bounded by q. Out: reduced. */
void mlkem_dot(mlkem_poly *r, const mlkem_poly *a, unsigned stride, const mlkem_poly *b,
               unsigned k);

/* p = p * 2^16. In: bounded by 2^15. Out: bounded by q. */
void mlkem_to_mont(mlkem_poly *p);

/* r = r + a, r = r - a. The caller keeps the sum within 16 bits. */
void mlkem_add(mlkem_poly *r, const mlkem_poly *a);
void mlkem_sub(mlkem_poly *r, const mlkem_poly *a);

/* In: any. Out: canonical. */
void mlkem_canonical(mlkem_poly *p);

/* ---- mlkem_sample.c --------------------------------------------------------------- */

/* Algorithm 7, SampleNTT, for the whole matrix: a[i * k + j] from rho, j, i. Out: canonical. */
void mlkem_sample_matrix(mlkem_poly *a, const uint8_t rho[MLKEM_SYM_BYTES], unsigned k);

/* Algorithm 8, SamplePolyCBD, for n <= 8 polynomials, from PRF_eta(seed, nonce + i).
 * Out: bounded by eta + 1. */
void mlkem_sample_noise(mlkem_poly *const p[], unsigned n, unsigned eta,
                        const uint8_t seed[MLKEM_SYM_BYTES], uint8_t nonce);

/* ---- mlkem_encode.c --------------------------------------------------------------- */

/* Algorithms 5 and 6, ByteEncode_12 and ByteDecode_12. Encoding takes canonical
 * coefficients; decoding gives values below 2^12, which the modulus check then compares. */
void mlkem_encode12(uint8_t out[MLKEM_POLY_BYTES], const mlkem_poly *p);
void mlkem_decode12(mlkem_poly *p, const uint8_t in[MLKEM_POLY_BYTES]);

/* ByteEncode_d(Compress_d(p)) and Decompress_d(ByteDecode_d(in)), d in {1, 4, 5, 10, 11}, of
 * 32 * d bytes. Compressing takes canonical coefficients; decompressing gives them. */
void mlkem_compress(uint8_t *out, const mlkem_poly *p, unsigned d);
void mlkem_decompress(mlkem_poly *p, const uint8_t *in, unsigned d);

#endif
