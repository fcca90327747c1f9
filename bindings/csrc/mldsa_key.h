/* SPDX-License-Identifier: Apache-2.0 */
/* Opened keys: everything of a key that does not depend on the message, ready for use. */
#ifndef QPHER_MLDSA_KEY_H
#define QPHER_MLDSA_KEY_H

#include "mldsa_poly.h"
#include "mlkem_poly.h"
#include "qpher_native.h"

/* k rows of l + 1 polynomials follow: row i of A-hat, then NTT(-t1[i] * 2^d), so that the
 * verifier's A*z - c*t1*2^d is one product of a row with (z, c). */
struct qpher_mldsa_pk {
    int32_t set;
    uint8_t tr[MLDSA_TR_BYTES];
    uint8_t encoded[MLDSA_MAX_PK_BYTES]; /* begins with rho */
    mldsa_poly rows[];
};

/* t0 in the NTT domain (k), then s1 (l) and -s2 (k) in that of mldsa_short.h, then the public key,
 * with t1[i] at the end of its rows. Until the key is prepared t0, s1 and s2 stand there as they
 * are. */
struct qpher_mldsa_sk {
    int32_t set;
    uint16_t has_seed; /* 0 for a key from its expanded form, whose seed nobody knows */
    uint16_t prepared;
    uint8_t seed[MLDSA_SEED_BYTES];
    uint8_t key[MLDSA_SEED_BYTES]; /* K: makes signing randomness */
    mldsa_poly t0[];
};

static inline mlkem_poly *mldsa_shorts(const struct mldsa_params *p, const qpher_mldsa_sk *sk)
{
    return (mlkem_poly *)(void *)(uintptr_t)(sk->t0 + p->k);
}

static inline qpher_mldsa_pk *mldsa_pk_of(const struct mldsa_params *p, const qpher_mldsa_sk *sk)
{
    return (qpher_mldsa_pk *)(void *)(mldsa_shorts(p, sk) + p->l + p->k);
}

static inline size_t mldsa_pk_object_bytes(const struct mldsa_params *p)
{
    return sizeof(qpher_mldsa_pk) + p->k * (p->l + 1) * sizeof(mldsa_poly);
}

static inline size_t mldsa_sk_object_bytes(const struct mldsa_params *p)
{
    return sizeof(qpher_mldsa_sk) + p->k * sizeof(mldsa_poly) +
           (p->l + p->k) * sizeof(mlkem_poly) + mldsa_pk_object_bytes(p);
}

/* Algorithm 6, ML-DSA.KeyGen_internal, into n <= 8 opened keys, with seeds of 32 bytes. */
void mldsa_keys_from_seeds(const struct mldsa_params *p, qpher_mldsa_sk *const sk[],
                           const uint8_t seeds[][MLDSA_SEED_BYTES], unsigned n);

/* What signing needs and key generation does not: transforms of t0, s1 and s2. Once is enough. */
void mldsa_key_prepare(const struct mldsa_params *p, qpher_mldsa_sk *sk);

/* The public key as verification reads it. */
void mldsa_key_public(const struct mldsa_params *p, qpher_mldsa_pk *pk, const qpher_mldsa_sk *sk);

/* Algorithm 25, skDecode, with the checks that make the key consistent. */
int mldsa_key_from_expanded(const struct mldsa_params *p, qpher_mldsa_sk *sk, const uint8_t *in);

/* Algorithm 24, skEncode. */
void mldsa_key_expanded(const struct mldsa_params *p, const qpher_mldsa_sk *sk, uint8_t *out);

/* Algorithm 23, pkDecode; every string of the right length is a public key. */
void mldsa_key_load_public(const struct mldsa_params *p, qpher_mldsa_pk *pk, const uint8_t *in);

#endif
