/* SPDX-License-Identifier: Apache-2.0 */
/* The message representative mu of FIPS 204: H(tr || M'), M' made of domain, context, message. */
#ifndef QPHER_MLDSA_MU_H
#define QPHER_MLDSA_MU_H

#include "keccak.h"
#include "mldsa_params.h"
#include "qpher_native.h"

/* M' = domain || |ctx| || ctx || prefix || M, of algorithms 2 to 5: domain 0 and no prefix for
 * pure ML-DSA, domain 1 and the OID of the hash function before the digest for HashML-DSA. */
struct mldsa_message {
    const uint8_t *data, *context, *prefix;
    size_t length, context_length, prefix_length;
    uint8_t domain;
};

void mldsa_mu(uint8_t mu[MLDSA_MU_BYTES], const uint8_t tr[MLDSA_TR_BYTES],
              const struct mldsa_message *m);

/* The same for n messages; those of equal and moderate lengths share Keccak lanes. */
void mldsa_mu_many(uint8_t mu[][MLDSA_MU_BYTES], const uint8_t tr[MLDSA_TR_BYTES],
                   const struct mldsa_message *m, unsigned n);

/* Everything up to the message itself. */
void mldsa_mu_start(keccak_sponge *h, const uint8_t tr[MLDSA_TR_BYTES],
                    const struct mldsa_message *m);

/* The prefix and domain for a digest of hash (enum qpher_mldsa_hash) in m->data, or an error if
 * there is no such hash or its digest has another length. */
int mldsa_prehash(struct mldsa_message *m, int hash);

#endif
