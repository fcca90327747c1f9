/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of ML-DSA for sizes and keys: every argument is checked first. */
#include <string.h>

#include "ct.h"
#include "keccak.h"
#include "mldsa_checks.h"
#include "mldsa_key.h"
#include "qpher_native.h"

/* ---- Sizes --------------------------------------------------------------------------------- */

size_t qpher_mldsa_sk_bytes(int set)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    return p == NULL ? 0 : mldsa_sk_object_bytes(p);
}

size_t qpher_mldsa_pk_bytes(int set)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    return p == NULL ? 0 : mldsa_pk_object_bytes(p);
}

size_t qpher_mldsa_expanded_len(int set)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    return p == NULL ? 0 : p->sk_bytes;
}

size_t qpher_mldsa_public_key_len(int set)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    return p == NULL ? 0 : p->pk_bytes;
}

size_t qpher_mldsa_signature_len(int set)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    return p == NULL ? 0 : p->sig_bytes;
}

/* ---- Keys ---------------------------------------------------------------------------------- */

int qpher_mldsa_from_seed(qpher_mldsa_sk *sk, int set, const uint8_t *seed, size_t len)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    if (p == NULL || seed == NULL)
        return QPHER_ERR_ARGUMENT;
    if (len != MLDSA_SEED_BYTES)
        return QPHER_ERR_LENGTH;
    if (sk == NULL)
        return QPHER_ERR_CLOSED;
    mldsa_keys_from_seeds(p, &sk, (const uint8_t(*)[MLDSA_SEED_BYTES])seed, 1);
    return QPHER_OK;
}

/* Algorithm 1, ML-DSA.KeyGen. */
int qpher_mldsa_generate(qpher_mldsa_sk *sk, int set)
{
    return qpher_mldsa_generate_many(&sk, set, 1);
}

int qpher_mldsa_generate_many(qpher_mldsa_sk *const *sks, int set, size_t n)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    uint8_t seeds[KECCAK_MAX_LANES][MLDSA_SEED_BYTES];
    int err = QPHER_OK;
    if (p == NULL || (sks == NULL && n > 0))
        return QPHER_ERR_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        if (sks[i] == NULL)
            return QPHER_ERR_CLOSED;
    for (size_t done = 0, count; done < n && err == QPHER_OK; done += count) {
        count = n - done < KECCAK_MAX_LANES ? n - done : KECCAK_MAX_LANES;
        err = qpher_random(seeds[0], count * MLDSA_SEED_BYTES);
        if (err == QPHER_OK)
            mldsa_keys_from_seeds(p, sks + done, (const uint8_t(*)[MLDSA_SEED_BYTES])seeds,
                                  (unsigned)count);
    }
    if (err != QPHER_OK)
        for (size_t i = 0; i < n; i++)
            qpher_wipe(sks[i], mldsa_sk_object_bytes(p));
    qpher_wipe(seeds, sizeof seeds);
    return err;
}

int qpher_mldsa_from_expanded(qpher_mldsa_sk *sk, int set, const uint8_t *in, size_t len)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    int err;
    if (p == NULL || in == NULL)
        return QPHER_ERR_ARGUMENT;
    if (len != p->sk_bytes)
        return QPHER_ERR_LENGTH;
    if (sk == NULL)
        return QPHER_ERR_CLOSED;
    err = mldsa_key_from_expanded(p, sk, in);
    if (err != QPHER_OK)
        qpher_wipe(sk, mldsa_sk_object_bytes(p));
    return err;
}

int qpher_mldsa_load_public_key(qpher_mldsa_pk *pk, int set, const uint8_t *in, size_t len)
{
    const struct mldsa_params *p = mldsa_params_of(set);
    if (p == NULL || in == NULL)
        return QPHER_ERR_ARGUMENT;
    if (len != p->pk_bytes)
        return QPHER_ERR_LENGTH;
    if (pk == NULL)
        return QPHER_ERR_CLOSED;
    mldsa_key_load_public(p, pk, in);
    return QPHER_OK;
}

int qpher_mldsa_public_key(qpher_mldsa_pk *pk, const qpher_mldsa_sk *sk)
{
    const struct mldsa_params *p;
    const int err = opened_sk(sk, &p);
    if (err != QPHER_OK)
        return err;
    if (pk == NULL)
        return QPHER_ERR_CLOSED;
    mldsa_key_public(p, pk, sk);
    return QPHER_OK;
}

int qpher_mldsa_prepare(qpher_mldsa_sk *sk)
{
    const struct mldsa_params *p;
    const int err = opened_sk(sk, &p);
    if (err == QPHER_OK)
        mldsa_key_prepare(p, sk);
    return err;
}

int qpher_mldsa_seed(const qpher_mldsa_sk *sk, uint8_t *out, size_t len)
{
    const struct mldsa_params *p;
    const int err = opened_sk(sk, &p);
    if (err != QPHER_OK)
        return err;
    if (out == NULL)
        return QPHER_ERR_ARGUMENT;
    if (len != MLDSA_SEED_BYTES)
        return QPHER_ERR_LENGTH;
    memcpy(out, sk->seed, MLDSA_SEED_BYTES);
    return sk->has_seed ? QPHER_OK : QPHER_ERR_KEY;
}

int qpher_mldsa_expanded(const qpher_mldsa_sk *sk, uint8_t *out, size_t len)
{
    const struct mldsa_params *p;
    const int err = prepared_sk(sk, &p);
    if (err != QPHER_OK)
        return err;
    if (out == NULL)
        return QPHER_ERR_ARGUMENT;
    if (len != p->sk_bytes)
        return QPHER_ERR_LENGTH;
    mldsa_key_expanded(p, sk, out);
    return QPHER_OK;
}

int qpher_mldsa_encode(const qpher_mldsa_pk *pk, uint8_t *out, size_t len)
{
    const struct mldsa_params *p;
    const int err = opened_pk(pk, &p);
    if (err != QPHER_OK)
        return err;
    if (out == NULL)
        return QPHER_ERR_ARGUMENT;
    if (len != p->pk_bytes)
        return QPHER_ERR_LENGTH;
    memcpy(out, pk->encoded, p->pk_bytes);
    return QPHER_OK;
}
