/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 sections 5.2 and 5.4: from a message, or its digest, to mu. */
#include "mldsa_mu.h"

#include <string.h>

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

/* ---- Many ------------------------------------------------------------------------------------ */

enum { SHORT = 1024 }; /* messages up to this length are copied behind their prefix */

static int same_shape(const struct mldsa_message *m, unsigned n)
{
    for (unsigned j = 0; j < n; j++)
        if (m[j].length != m[0].length || m[j].context_length != m[0].context_length ||
            m[j].prefix_length != 0 || m[j].length > SHORT)
            return 0;
    return 1;
}

static void mu_lanes(uint8_t mu[][MLDSA_MU_BYTES], const uint8_t tr[MLDSA_TR_BYTES],
                     const struct mldsa_message *m, unsigned n)
{
    uint8_t input[KECCAK_MAX_LANES][MLDSA_TR_BYTES + 2 + MLDSA_MAX_CONTEXT + SHORT];
    uint8_t block[KECCAK_MAX_LANES][SHAKE256_RATE], *out[KECCAK_MAX_LANES];
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    const size_t at = MLDSA_TR_BYTES + 2 + m->context_length;
    keccak_lanes h;

    for (unsigned j = 0; j < n; j++) {
        memcpy(input[j], tr, MLDSA_TR_BYTES);
        input[j][MLDSA_TR_BYTES] = m[j].domain;
        input[j][MLDSA_TR_BYTES + 1] = (uint8_t)m[j].context_length;
        if (m[j].context_length > 0)
            memcpy(input[j] + MLDSA_TR_BYTES + 2, m[j].context, m[j].context_length);
        if (m[j].length > 0)
            memcpy(input[j] + at, m[j].data, m[j].length);
        in[j] = input[j];
        out[j] = block[j];
    }
    keccak_lanes_absorb(&h, n, SHAKE256_RATE, in, at + m->length);
    keccak_lanes_squeeze_blocks(&h, out, 1);
    for (unsigned j = 0; j < n; j++) {
        memcpy(mu[j], block[j], MLDSA_MU_BYTES);
        qpher_wipe(input[j], at + m->length);
    }
    keccak_lanes_wipe(&h);
}

void mldsa_mu_many(uint8_t mu[][MLDSA_MU_BYTES], const uint8_t tr[MLDSA_TR_BYTES],
                   const struct mldsa_message *m, unsigned n)
{
    for (unsigned done = 0, count; done < n; done += count) {
        count = n - done < KECCAK_MAX_LANES ? n - done : KECCAK_MAX_LANES;
        if (count > 1 && same_shape(m + done, count)) {
            mu_lanes(mu + done, tr, m + done, count);
            continue;
        }
        for (unsigned j = done; j < done + count; j++)
            mldsa_mu(mu[j], tr, &m[j]);
    }
}
