/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM (FIPS 203 section 6) on several inputs at once: operations of one call share the lanes
 * of Keccak. Every length has been checked. */
#ifndef QPHER_MLKEM_KEM_H
#define QPHER_MLKEM_KEM_H

#include "mlkem_key.h"

enum { MLKEM_BATCH = 8 /* operations on the stack at a time */ };

/* Algorithm 16, KeyGen_internal, n <= MLKEM_BATCH times: from params, d and z to the opened key. */
void mlkem_keygen(qpher_mlkem_dk *const dks[], unsigned n);

/* Algorithm 17, Encaps_internal, n <= MLKEM_BATCH times. */
void mlkem_encapsulate(const qpher_mlkem_ek *ek, unsigned n, uint8_t *cts, uint8_t *secrets,
                       const uint8_t *ms);

/* Algorithm 18, Decaps_internal, n <= MLKEM_BATCH times. */
void mlkem_decapsulate(const qpher_mlkem_dk *dk, unsigned n, uint8_t *secrets, const uint8_t *cts);

#endif
