/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that the public functions of ML-DSA share. */
#ifndef QPHER_MLDSA_CHECKS_H
#define QPHER_MLDSA_CHECKS_H

#include "mldsa_key.h"
#include "mldsa_mu.h"

static inline int absent(const void *p, size_t len)
{
    return p == NULL && len > 0;
}

/* The set of an opened key; a null key is closed, and one never filled in (all zero) has none. */
static inline int opened(const void *key, const struct mldsa_params **p, int set)
{
    if (key == NULL)
        return QPHER_ERR_CLOSED;
    *p = mldsa_params_of(set);
    return *p == NULL ? QPHER_ERR_ARGUMENT : QPHER_OK;
}

static inline int opened_sk(const qpher_mldsa_sk *sk, const struct mldsa_params **p)
{
    return opened(sk, p, sk == NULL ? 0 : sk->set);
}

/* For what reads all of a key. */
static inline int prepared_sk(const qpher_mldsa_sk *sk, const struct mldsa_params **p)
{
    const int err = opened_sk(sk, p);
    return err == QPHER_OK && !sk->prepared ? QPHER_ERR_ARGUMENT : err;
}

static inline int opened_pk(const qpher_mldsa_pk *pk, const struct mldsa_params **p)
{
    return opened(pk, p, pk == NULL ? 0 : pk->set);
}

static inline int checked_message(const struct mldsa_message *m)
{
    if (absent(m->data, m->length) || absent(m->context, m->context_length))
        return QPHER_ERR_ARGUMENT;
    return m->context_length > MLDSA_MAX_CONTEXT ? QPHER_ERR_LENGTH : QPHER_OK;
}

static inline struct mldsa_message message(const uint8_t *data, size_t length, const uint8_t *ctx,
                                    size_t ctx_len)
{
    return (struct mldsa_message){
        .data = data, .length = length, .context = ctx, .context_length = ctx_len};
}

/* The arguments that all signing functions share, for n signatures. */
static inline int checked_signing(const qpher_mldsa_sk *sk, const struct mldsa_params **p, size_t n,
                           const uint8_t *sigs, size_t sigs_len, const uint8_t *rnds,
                           size_t rnds_len)
{
    const int err = prepared_sk(sk, p);
    if (err != QPHER_OK)
        return err;
    if (sigs == NULL || absent(rnds, rnds_len))
        return QPHER_ERR_ARGUMENT;
    if (sigs_len % (*p)->sig_bytes != 0 || sigs_len / (*p)->sig_bytes != n)
        return QPHER_ERR_LENGTH;
    if (rnds != NULL && (rnds_len % MLDSA_SEED_BYTES != 0 || rnds_len / MLDSA_SEED_BYTES != n))
        return QPHER_ERR_LENGTH;
    return QPHER_OK;
}

#endif
