/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of ML-DSA: checks of every argument, then the algorithms of FIPS 204. */
#include <string.h>

#include "ct.h"
#include "mldsa_key.h"
#include "mldsa_mu.h"
#include "mldsa_sign.h"
#include "qpher_native.h"

struct qpher_mldsa_mu {
    keccak_sponge sponge;
    uint32_t open; /* OPEN between start and final */
};

enum { OPEN = 0x6d757570, BATCH = 64 /* jobs or checks on the stack at a time */ };

static int absent(const void *p, size_t len)
{
    return p == NULL && len > 0;
}

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

size_t qpher_mldsa_mu_bytes(void)
{
    return sizeof(qpher_mldsa_mu);
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

/* The set of an opened key; a null key is closed, and one never filled in (all zero) has none. */
static int opened(const void *key, const struct mldsa_params **p, int set)
{
    if (key == NULL)
        return QPHER_ERR_CLOSED;
    *p = mldsa_params_of(set);
    return *p == NULL ? QPHER_ERR_ARGUMENT : QPHER_OK;
}

static int opened_sk(const qpher_mldsa_sk *sk, const struct mldsa_params **p)
{
    return opened(sk, p, sk == NULL ? 0 : sk->set);
}

static int opened_pk(const qpher_mldsa_pk *pk, const struct mldsa_params **p)
{
    return opened(pk, p, pk == NULL ? 0 : pk->set);
}

int qpher_mldsa_public_key(qpher_mldsa_pk *pk, const qpher_mldsa_sk *sk)
{
    const struct mldsa_params *p;
    const int err = opened_sk(sk, &p);
    if (err != QPHER_OK)
        return err;
    if (pk == NULL)
        return QPHER_ERR_CLOSED;
    memcpy(pk, mldsa_pk_of(p, sk), mldsa_pk_object_bytes(p));
    return QPHER_OK;
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
    const int err = opened_sk(sk, &p);
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

/* ---- Messages ------------------------------------------------------------------------------ */

static int checked_message(const struct mldsa_message *m)
{
    if (absent(m->data, m->length) || absent(m->context, m->context_length))
        return QPHER_ERR_ARGUMENT;
    return m->context_length > MLDSA_MAX_CONTEXT ? QPHER_ERR_LENGTH : QPHER_OK;
}

static struct mldsa_message message(const uint8_t *data, size_t length, const uint8_t *ctx,
                                    size_t ctx_len)
{
    return (struct mldsa_message){
        .data = data, .length = length, .context = ctx, .context_length = ctx_len};
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

/* The arguments that all signing functions share, for n signatures. */
static int checked_signing(const qpher_mldsa_sk *sk, const struct mldsa_params **p, size_t n,
                           const uint8_t *sigs, size_t sigs_len, const uint8_t *rnds,
                           size_t rnds_len)
{
    const int err = opened_sk(sk, p);
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

/* ---- Many at once -------------------------------------------------------------------------- */

/* The messages of a batch: the pointers are there and the lengths add up. */
static int checked_batch(size_t n, const uint8_t *msgs, size_t msgs_len, const size_t *msg_lens,
                         const uint8_t *ctx, size_t ctx_len)
{
    const struct mldsa_message context = message(NULL, 0, ctx, ctx_len);
    size_t rest = msgs_len;
    if (absent(msgs, msgs_len) || absent(msg_lens, n))
        return QPHER_ERR_ARGUMENT;
    for (size_t i = 0; i < n; i++) {
        if (msg_lens[i] > rest)
            return QPHER_ERR_LENGTH;
        rest -= msg_lens[i];
    }
    return rest != 0 ? QPHER_ERR_LENGTH : checked_message(&context);
}

/* The next count messages; returns where the rest begins. */
static const uint8_t *take_messages(struct mldsa_message *m, size_t count, const uint8_t *msgs,
                                    const size_t *msg_lens, const uint8_t *ctx, size_t ctx_len)
{
    for (size_t i = 0; i < count; i++) {
        m[i] = message(msgs, msg_lens[i], ctx, ctx_len);
        msgs = msg_lens[i] > 0 ? msgs + msg_lens[i] : msgs; /* msgs may be null if all are empty */
    }
    return msgs;
}

int qpher_mldsa_sign_many(const qpher_mldsa_sk *sk, size_t n, uint8_t *sigs, size_t sigs_len,
                          const uint8_t *msgs, size_t msgs_len, const size_t *msg_lens,
                          const uint8_t *ctx, size_t ctx_len, const uint8_t *rnds,
                          size_t rnds_len)
{
    const struct mldsa_params *p;
    struct mldsa_message m[BATCH];
    struct mldsa_job jobs[BATCH];
    uint8_t mu[BATCH][MLDSA_MU_BYTES], fresh[BATCH][MLDSA_SEED_BYTES];
    uint8_t *sig = sigs;
    int err = checked_signing(sk, &p, n, sigs, sigs_len, rnds, rnds_len);
    if (err == QPHER_OK)
        err = checked_batch(n, msgs, msgs_len, msg_lens, ctx, ctx_len);
    if (err != QPHER_OK)
        return err;

    for (size_t done = 0, count; done < n; done += count) {
        count = n - done < BATCH ? n - done : BATCH;
        if (rnds == NULL && (err = qpher_random(fresh[0], count * MLDSA_SEED_BYTES)) != QPHER_OK)
            goto cleanup;
        msgs = take_messages(m, count, msgs, msg_lens + done, ctx, ctx_len);
        mldsa_mu_many(mu, mldsa_pk_of(p, sk)->tr, m, (unsigned)count);
        for (size_t i = 0; i < count; i++, sig += p->sig_bytes) {
            jobs[i] = (struct mldsa_job){
                .mu = mu[i],
                .rnd = rnds == NULL ? fresh[i] : rnds + (done + i) * MLDSA_SEED_BYTES,
                .signature = sig,
            };
        }
        mldsa_sign(p, sk, jobs, (unsigned)count);
    }
cleanup:
    if (err != QPHER_OK)
        memset(sigs, 0, sigs_len);
    qpher_wipe(mu, sizeof mu);
    qpher_wipe(fresh, sizeof fresh);
    return err;
}

int qpher_mldsa_verify_many(const qpher_mldsa_pk *pk, size_t n, uint8_t *results,
                            const uint8_t *sigs, size_t sigs_len, const uint8_t *msgs,
                            size_t msgs_len, const size_t *msg_lens, const uint8_t *ctx,
                            size_t ctx_len)
{
    const struct mldsa_params *p;
    struct mldsa_message m[BATCH];
    struct mldsa_check checks[BATCH];
    uint8_t mu[BATCH][MLDSA_MU_BYTES];
    int err = opened_pk(pk, &p);
    if (err == QPHER_OK)
        err = checked_batch(n, msgs, msgs_len, msg_lens, ctx, ctx_len);
    if (err != QPHER_OK)
        return err;
    if (absent(results, n) || absent(sigs, sigs_len))
        return QPHER_ERR_ARGUMENT;
    if (sigs_len % p->sig_bytes != 0 || sigs_len / p->sig_bytes != n)
        return QPHER_ERR_LENGTH;

    for (size_t done = 0, count; done < n; done += count) {
        count = n - done < BATCH ? n - done : BATCH;
        msgs = take_messages(m, count, msgs, msg_lens + done, ctx, ctx_len);
        mldsa_mu_many(mu, pk->tr, m, (unsigned)count);
        for (size_t i = 0; i < count; i++)
            checks[i] =
                (struct mldsa_check){.mu = mu[i], .signature = sigs + (done + i) * p->sig_bytes};
        mldsa_verify(p, pk, checks, (unsigned)count);
        for (size_t i = 0; i < count; i++)
            results[done + i] = (uint8_t)(checks[i].valid != 0);
    }
    return QPHER_OK;
}
