/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the AVX2 and AVX-512 units of ML-DSA; see struct mldsa_unit for what they do. */
#ifndef QPHER_MLDSA_X86_H
#define QPHER_MLDSA_X86_H

#include "mldsa_poly.h"

void mldsa_ntt_avx2(mldsa_poly *p);
void mldsa_intt_avx2(mldsa_poly *p);
void mldsa_dot_avx2(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n);
void mldsa_ntt_avx512(mldsa_poly *p);
void mldsa_intt_avx512(mldsa_poly *p);
void mldsa_dot_avx512(mldsa_poly *r, const mldsa_poly *a, const mldsa_poly *b, unsigned n);

/* Both units use these. */
void mldsa_pack_z_avx2(uint8_t *out, const mldsa_poly *z, unsigned bits);
void mldsa_pack_w1_avx2(uint8_t *out, const uint8_t w1[MLDSA_N], unsigned bits);
void mldsa_pack_t1_avx2(uint8_t out[MLDSA_T1_BYTES], const mldsa_poly *t1);
void mldsa_unpack_t1_avx2(mldsa_poly *t1, const uint8_t in[MLDSA_T1_BYTES]);

#endif
