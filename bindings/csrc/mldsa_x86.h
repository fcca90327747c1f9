/* SPDX-License-Identifier: Apache-2.0 */
/* What the AVX-512 unit of ML-DSA borrows from the AVX2 one. */
#ifndef QPHER_MLDSA_X86_H
#define QPHER_MLDSA_X86_H

#include "mldsa_poly.h"

void mldsa_pack_z_avx2(uint8_t *out, const mldsa_poly *z, unsigned bits);
void mldsa_pack_w1_avx2(uint8_t *out, const uint8_t w1[MLDSA_N], unsigned bits);

#endif
