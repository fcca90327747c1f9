/* SPDX-License-Identifier: Apache-2.0 */
/* K-PKE (FIPS 203 section 5) after its sampling. */
#ifndef QPHER_MLKEM_KPKE_H
#define QPHER_MLKEM_KPKE_H

#include "mlkem_sample.h"

/* Algorithm 13 lines 8 to 19: s; then t from..to-1, plain and encoded, where the matrix is there. */
void mlkem_kpke_secrets(qpher_mlkem_dk *dk, const struct mlkem_noise *noise);
void mlkem_kpke_rows(qpher_mlkem_dk *dk, const struct mlkem_noise *noise, unsigned from,
                     unsigned to);

/* Algorithm 14 lines 9 to 24; noise comes from the PRF on r. */
void mlkem_kpke_encrypt(uint8_t *ct, const qpher_mlkem_ek *ek, const uint8_t m[MLKEM_SYM_BYTES],
                        const struct mlkem_noise *noise);

/* Algorithm 15. */
void mlkem_kpke_decrypt(uint8_t m[MLKEM_SYM_BYTES], const qpher_mlkem_dk *dk, const uint8_t *ct);

#endif
