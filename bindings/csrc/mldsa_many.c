/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of ML-DSA for many messages: every argument is checked first. */
#include <string.h>

#include "mldsa_checks.h"
#include "mldsa_key.h"
#include "mldsa_mu.h"
#include "mldsa_sign.h"
#include "qpher_native.h"

enum { BATCH = 64 /* jobs or checks on the stack at a time */ };

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
