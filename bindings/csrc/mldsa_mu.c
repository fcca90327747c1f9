/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 sections 5.2 and 5.4: from a message, or its digest, to mu. */
#include "mldsa_mu.h"

enum { OID_BYTES = 11 };

/* DER of 2.16.840.1.101.3.4.2.x, and the length of digest for which FIPS 204 lets HashML-DSA use
 * the function. */
static const struct {
    uint8_t oid[OID_BYTES];
    uint8_t digest_bytes;
} hashes[] = {
#define HASH(x, n) {{0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, x}, n}
    [QPHER_MLDSA_SHA256] = HASH(0x01, 32),   [QPHER_MLDSA_SHA384] = HASH(0x02, 48),
    [QPHER_MLDSA_SHA512] = HASH(0x03, 64),   [QPHER_MLDSA_SHA3_256] = HASH(0x08, 32),
    [QPHER_MLDSA_SHA3_384] = HASH(0x09, 48), [QPHER_MLDSA_SHA3_512] = HASH(0x0a, 64),
    [QPHER_MLDSA_SHAKE128] = HASH(0x0b, 32), [QPHER_MLDSA_SHAKE256] = HASH(0x0c, 64),
};

int mldsa_prehash(struct mldsa_message *m, int hash)
{
    if (hash < 0 || (size_t)hash >= sizeof hashes / sizeof hashes[0])
        return QPHER_ERR_ARGUMENT;
    if (m->length != hashes[hash].digest_bytes)
        return QPHER_ERR_LENGTH;
    m->domain = 1;
    m->prefix = hashes[hash].oid;
    m->prefix_length = OID_BYTES;
    return QPHER_OK;
}

void mldsa_mu_start(keccak_sponge *h, const uint8_t tr[MLDSA_TR_BYTES],
                    const struct mldsa_message *m)
{
    const uint8_t head[2] = {m->domain, (uint8_t)m->context_length};
    shake256_init(h);
    shake_absorb(h, tr, MLDSA_TR_BYTES);
    shake_absorb(h, head, sizeof head);
    shake_absorb(h, m->context, m->context_length);
    shake_absorb(h, m->prefix, m->prefix_length);
}

void mldsa_mu(uint8_t mu[MLDSA_MU_BYTES], const uint8_t tr[MLDSA_TR_BYTES],
              const struct mldsa_message *m)
{
    keccak_sponge h;
    mldsa_mu_start(&h, tr, m);
    shake_absorb(&h, m->data, m->length);
    shake_finalize(&h);
    shake_squeeze(&h, mu, MLDSA_MU_BYTES);
    keccak_sponge_wipe(&h); /* the message may be secret, and short */
}
