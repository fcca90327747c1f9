/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 section 7.1 and 7.2: polynomials and hints to and from bytes. */
#ifndef QPHER_MLDSA_PACK_H
#define QPHER_MLDSA_PACK_H

#include "mldsa_poly.h"

/* Algorithm 17, BitPack, of c in [top - 2^bits + 1, top]: top - c in so many bits. */
void mldsa_pack(uint8_t *out, const mldsa_poly *a, int32_t top, unsigned bits);
/* Algorithm 19, BitUnpack: c = top - field. The caller checks the range where it matters. */
void mldsa_unpack(mldsa_poly *a, const uint8_t *in, int32_t top, unsigned bits);

/* Algorithm 20, HintBitPack: h has k polynomials of 256 bytes 0 or 1, at most omega ones. */
void mldsa_pack_hint(const struct mldsa_params *p, uint8_t *out, const uint8_t h[][MLDSA_N]);
/* Algorithm 21, HintBitUnpack: nonzero if the encoding is not the one of a hint. */
int mldsa_unpack_hint(const struct mldsa_params *p, uint8_t h[][MLDSA_N], const uint8_t *in);

#endif
