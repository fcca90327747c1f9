/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of ML-DSA for one message: every argument is checked first. */
#include <string.h>

#include "mldsa_checks.h"
#include "mldsa_key.h"
#include "mldsa_mu.h"
#include "mldsa_sign.h"
#include "qpher_native.h"

struct qpher_mldsa_mu {
    keccak_sponge sponge;
    uint32_t open; /* OPEN between start and final */
};

enum { OPEN = 0x6d757570 };

/* ---- Messages in parts ---------------------------------------------------------------------- */

size_t qpher_mldsa_mu_bytes(void)
{
    return sizeof(qpher_mldsa_mu);
}

int qpher_mldsa_mu_start(qpher_mldsa_mu *h, const qpher_mldsa_pk *pk, const uint8_t *ctx,
                         size_t ctx_len)
{
    const struct mldsa_message m = message(NULL, 0, ctx, ctx_len);
    const struct mldsa_params *p;
    int err = opened_pk(pk, &p);
    if (err == QPHER_OK)
        err = h == NULL ? QPHER_ERR_ARGUMENT : checked_message(&m);
    if (err != QPHER_OK)
        return err;
    mldsa_mu_start(&h->sponge, pk->tr, &m);
    h->open = OPEN;
    return QPHER_OK;
}

int qpher_mldsa_mu_update(qpher_mldsa_mu *h, const uint8_t *part, size_t len)
{
    if (h == NULL || h->open != OPEN || absent(part, len))
        return QPHER_ERR_ARGUMENT;
    shake_absorb(&h->sponge, part, len);
    return QPHER_OK;
}

int qpher_mldsa_mu_final(qpher_mldsa_mu *h, uint8_t *mu, size_t mu_len)
{
    if (h == NULL || h->open != OPEN || mu == NULL)
        return QPHER_ERR_ARGUMENT;
    if (mu_len != MLDSA_MU_BYTES)
        return QPHER_ERR_LENGTH;
    shake_finalize(&h->sponge);
    shake_squeeze(&h->sponge, mu, mu_len);
    qpher_wipe(h, sizeof *h);
    return QPHER_OK;
}

/* ---- Signing ------------------------------------------------------------------------------- */

/* Signs one mu: algorithm 2 from line 4 on, and algorithm 7. */
static int sign_one(const struct mldsa_params *p, const qpher_mldsa_sk *sk, uint8_t *sig,
                    const uint8_t *mu, const uint8_t *rnd)
{
    uint8_t fresh[MLDSA_SEED_BYTES];
    struct mldsa_job job = {.mu = mu, .rnd = rnd, .signature = sig};
    if (rnd == NULL) {
        const int err = qpher_random(fresh, sizeof fresh);
        if (err != QPHER_OK) {
            memset(sig, 0, p->sig_bytes);
            return err;
        }
        job.rnd = fresh;
    }
    mldsa_sign(p, sk, &job, 1);
    qpher_wipe(fresh, sizeof fresh);
    return QPHER_OK;
}

static int sign_message(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len,
                        const struct mldsa_message *m, const uint8_t *rnd, size_t rnd_len)
{
    const struct mldsa_params *p;
    uint8_t mu[MLDSA_MU_BYTES];
    int err = checked_signing(sk, &p, 1, sig, sig_len, rnd, rnd_len);
    if (err == QPHER_OK)
        err = checked_message(m);
    if (err != QPHER_OK)
        return err;
    mldsa_mu(mu, mldsa_pk_of(p, sk)->tr, m);
    err = sign_one(p, sk, sig, mu, rnd);
    qpher_wipe(mu, sizeof mu);
    return err;
}

/* Algorithm 2, ML-DSA.Sign. */
int qpher_mldsa_sign(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len, const uint8_t *msg,
                     size_t msg_len, const uint8_t *ctx, size_t ctx_len, const uint8_t *rnd,
                     size_t rnd_len)
{
    const struct mldsa_message m = message(msg, msg_len, ctx, ctx_len);
    return sign_message(sk, sig, sig_len, &m, rnd, rnd_len);
}

/* Algorithm 4, HashML-DSA.Sign, from the digest on. */
int qpher_mldsa_sign_prehash(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len, int hash,
                             const uint8_t *digest, size_t digest_len, const uint8_t *ctx,
                             size_t ctx_len, const uint8_t *rnd, size_t rnd_len)
{
    struct mldsa_message m = message(digest, digest_len, ctx, ctx_len);
    const int err = mldsa_prehash(&m, hash);
    return err != QPHER_OK ? err : sign_message(sk, sig, sig_len, &m, rnd, rnd_len);
}

int qpher_mldsa_sign_mu(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len, const uint8_t *mu,
                        size_t mu_len, const uint8_t *rnd, size_t rnd_len)
{
    const struct mldsa_params *p;
    const int err = checked_signing(sk, &p, 1, sig, sig_len, rnd, rnd_len);
    if (err != QPHER_OK)
        return err;
    if (mu == NULL)
        return QPHER_ERR_ARGUMENT;
    if (mu_len != MLDSA_MU_BYTES)
        return QPHER_ERR_LENGTH;
    return sign_one(p, sk, sig, mu, rnd);
}

/* ---- Verification -------------------------------------------------------------------------- */

static int verify_one(const struct mldsa_params *p, const qpher_mldsa_pk *pk, const uint8_t *sig,
                      const uint8_t *mu)
{
    struct mldsa_check check = {.mu = mu, .signature = sig};
    mldsa_verify(p, pk, &check, 1);
    return check.valid ? QPHER_OK : QPHER_ERR_SIGNATURE;
}

static int verify_message(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                          const struct mldsa_message *m)
{
    const struct mldsa_params *p;
    uint8_t mu[MLDSA_MU_BYTES];
    int err = opened_pk(pk, &p);
    if (err == QPHER_OK)
        err = absent(sig, sig_len) ? QPHER_ERR_ARGUMENT : checked_message(m);
    if (err != QPHER_OK)
        return err;
    if (sig_len != p->sig_bytes)
        return QPHER_ERR_SIGNATURE;
    mldsa_mu(mu, pk->tr, m);
    return verify_one(p, pk, sig, mu);
}

/* Algorithm 3, ML-DSA.Verify. */
int qpher_mldsa_verify(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                       const uint8_t *msg, size_t msg_len, const uint8_t *ctx, size_t ctx_len)
{
    const struct mldsa_message m = message(msg, msg_len, ctx, ctx_len);
    return verify_message(pk, sig, sig_len, &m);
}

/* Algorithm 5, HashML-DSA.Verify, from the digest on. */
int qpher_mldsa_verify_prehash(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                               int hash, const uint8_t *digest, size_t digest_len,
                               const uint8_t *ctx, size_t ctx_len)
{
    struct mldsa_message m = message(digest, digest_len, ctx, ctx_len);
    const int err = mldsa_prehash(&m, hash);
    return err != QPHER_OK ? err : verify_message(pk, sig, sig_len, &m);
}

int qpher_mldsa_verify_mu(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                          const uint8_t *mu, size_t mu_len)
{
    const struct mldsa_params *p;
    const int err = opened_pk(pk, &p);
    if (err != QPHER_OK)
        return err;
    if (mu == NULL || absent(sig, sig_len))
        return QPHER_ERR_ARGUMENT;
    if (mu_len != MLDSA_MU_BYTES)
        return QPHER_ERR_LENGTH;
    return sig_len != p->sig_bytes ? QPHER_ERR_SIGNATURE : verify_one(p, pk, sig, mu);
}
