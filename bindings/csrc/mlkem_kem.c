/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: key generation, encapsulation and decapsulation (FIPS 203 section 6). */
#include "mlkem_kem.h"

#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "ct.h"
#include "mlkem_kpke.h"

enum { SYM = MLKEM_SYM_BYTES };

/* ---- Key generation ---------------------------------------------------------------------------- */

/* H(ek) is a chain of blocks, each of which waits for the last. Where the rows of the matrix but the
 * last fill three of them, the last three polynomials, of three blocks each, go by their side. */
enum { RIDING = 3 };

struct key_job {
    struct mlkem_g g;
    struct mlkem_noise noise;
    uint64_t h[25];
};

static void derive_seeds(struct mlkem_queue *queue, qpher_mlkem_dk *const dks[],
                         struct key_job jobs[], unsigned n)
{
    const unsigned k = dks[0]->ek.params->k;
    for (unsigned i = 0; i < n; i++) {
        memcpy(jobs[i].g.in, dks[i]->d, SYM);
        memset(jobs[i].g.in + SYM, 0, SYM);
        jobs[i].g.in[SYM] = (uint8_t)k;
        mlkem_queue_g(queue, &jobs[i].g, SYM + 1);
    }
    mlkem_queue_finish(queue); /* rho || sigma */
    for (unsigned i = 0; i < n; i++) {
        uint8_t *rho = dks[i]->ek.encoded + k * MLKEM_POLY_BYTES;
        memcpy(rho, jobs[i].g.out, SYM);
        QPHER_CT_DECLASSIFY(rho, SYM); /* rho is part of the public key */
        mlkem_pad(dks[i]->ek.encoded, dks[i]->ek.params->ek_len, KECCAK_SUFFIX_SHA3);
        memset(jobs[i].h, 0, sizeof jobs[i].h);
    }
}

/* The noise, and the rows of the matrix that do not ride, of one key at a time: they fill the lanes,
 * and a key stays in the first cache. */
static void expand(struct mlkem_queue *queue, qpher_mlkem_dk *dk, struct key_job *job,
                   unsigned riding)
{
    const struct mlkem_params *params = dk->ek.params;
    const unsigned k = params->k;
    mlkem_queue_matrix(queue, &dk->ek, dk->ek.encoded + k * MLKEM_POLY_BYTES, 0, k * k - riding);
    mlkem_queue_noise(queue, &job->noise, params, 2 * k, 2 * k, job->g.out + SYM);
    mlkem_queue_finish(queue);
    mlkem_kpke_secrets(dk, &job->noise);
    mlkem_kpke_rows(dk, &job->noise, 0, riding > 0 ? k - 1 : k);
}

/* The last row, beside the first blocks of H(ek). */
static void ride(struct mlkem_queue *queue, qpher_mlkem_dk *const dks[], struct key_job jobs[],
                 unsigned n)
{
    const unsigned k = dks[0]->ek.params->k;
    for (unsigned i = 0; i < n; i++) {
        mlkem_queue_matrix(queue, &dks[i]->ek, dks[i]->ek.encoded + k * MLKEM_POLY_BYTES,
                           k * k - RIDING, k * k);
        mlkem_queue_hash(queue, jobs[i].h, dks[i]->ek.encoded, RIDING);
    }
    mlkem_queue_finish(queue);
    for (unsigned i = 0; i < n; i++)
        mlkem_kpke_rows(dks[i], &jobs[i].noise, k - 1, k);
}

static void keygen(qpher_mlkem_dk *const dks[], struct key_job jobs[], unsigned n)
{
    const struct mlkem_params *params = dks[0]->ek.params;
    const unsigned riding = params->k >= 3 ? RIDING : 0;
    struct mlkem_queue queue;

    mlkem_queue_start(&queue);
    derive_seeds(&queue, dks, jobs, n);
    for (unsigned i = 0; i < n; i++)
        expand(&queue, dks[i], &jobs[i], riding);
    if (riding > 0)
        ride(&queue, dks, jobs, n);
    for (unsigned i = 0; i < n; i++)
        mlkem_queue_hash(&queue, jobs[i].h, dks[i]->ek.encoded + riding * MLKEM_HASH_BLOCK,
                         MLKEM_HASH_BLOCKS(params->ek_len) - riding);
    mlkem_queue_finish(&queue);
    for (unsigned i = 0; i < n; i++)
        store_words_le(dks[i]->ek.h, jobs[i].h, SYM / 8);
    qpher_wipe(jobs, n * sizeof *jobs);
}

void mlkem_keygen(qpher_mlkem_dk *const dks[], unsigned n)
{
    struct key_job jobs[MLKEM_BATCH];
    keygen(dks, jobs, n);
}

/* ---- Encapsulation ----------------------------------------------------------------------------- */

struct job {
    struct mlkem_g g; /* m || H(ek), and K || r */
    struct mlkem_noise noise;
};

void mlkem_encapsulate(const qpher_mlkem_ek *ek, unsigned n, uint8_t *cts, uint8_t *secrets,
                       const uint8_t *ms)
{
    const struct mlkem_params *params = ek->params;
    struct job jobs[MLKEM_BATCH];
    struct mlkem_queue queue;

    mlkem_queue_start(&queue);
    for (unsigned i = 0; i < n; i++) {
        memcpy(jobs[i].g.in, ms + i * SYM, SYM);
        QPHER_CT_POISON(jobs[i].g.in, SYM);
        memcpy(jobs[i].g.in + SYM, ek->h, SYM);
        mlkem_queue_g(&queue, &jobs[i].g, 2 * SYM);
    }
    mlkem_queue_finish(&queue);
    for (unsigned i = 0; i < n; i++)
        mlkem_queue_noise(&queue, &jobs[i].noise, params, params->k, 2 * params->k + 1,
                           jobs[i].g.out + SYM);
    mlkem_queue_finish(&queue);
    for (unsigned i = 0; i < n; i++) {
        mlkem_kpke_encrypt(cts + i * params->ct_len, ek, jobs[i].g.in, &jobs[i].noise);
        memcpy(secrets + i * SYM, jobs[i].g.out, SYM);
    }
    QPHER_CT_DECLASSIFY(cts, n * params->ct_len); /* ciphertexts are public, */
    QPHER_CT_DECLASSIFY(secrets, n * SYM);        /* and the secrets are the caller's now */
    qpher_wipe(jobs, n * sizeof *jobs);
}

/* ---- Decapsulation ----------------------------------------------------------------------------- */

struct decapsulation {
    struct mlkem_g g; /* m' || H(ek), and K' || r' */
    uint64_t j[25];
    uint8_t j_in[MLKEM_PADDED(SYM + MLKEM_MAX_CT)];
    struct mlkem_noise noise;
    uint8_t again[MLKEM_MAX_CT];
};

/* J(z || c) (4.4) is a chain of blocks: the first goes beside G, the others beside the PRF. */
static void decapsulate(const qpher_mlkem_dk *dk, struct decapsulation jobs[], unsigned n,
                        uint8_t *secrets, const uint8_t *cts)
{
    const struct mlkem_params *params = dk->ek.params;
    const unsigned ct_len = params->ct_len, blocks = MLKEM_HASH_BLOCKS(SYM + ct_len);
    struct mlkem_queue queue;

    mlkem_queue_start(&queue);
    for (unsigned i = 0; i < n; i++) {
        struct decapsulation *job = &jobs[i];
        mlkem_kpke_decrypt(job->g.in, dk, cts + i * ct_len);
        memcpy(job->g.in + SYM, dk->ek.h, SYM);
        memcpy(job->j_in, dk->z, SYM);
        memcpy(job->j_in + SYM, cts + i * ct_len, ct_len);
        mlkem_pad(job->j_in, SYM + ct_len, KECCAK_SUFFIX_SHAKE);
        memset(job->j, 0, sizeof job->j);
        mlkem_queue_g(&queue, &job->g, 2 * SYM);
        mlkem_queue_hash(&queue, job->j, job->j_in, 1);
    }
    mlkem_queue_finish(&queue);

    for (unsigned i = 0; i < n; i++)
        mlkem_queue_hash(&queue, jobs[i].j, jobs[i].j_in + MLKEM_HASH_BLOCK, blocks - 1);
    for (unsigned i = 0; i < n; i++)
        mlkem_queue_noise(&queue, &jobs[i].noise, params, params->k, 2 * params->k + 1,
                          jobs[i].g.out + SYM);
    mlkem_queue_finish(&queue);

    for (unsigned i = 0; i < n; i++) {
        struct decapsulation *job = &jobs[i];
        uint8_t rejected[SYM];
        mlkem_kpke_encrypt(job->again, &dk->ek, job->g.in, &job->noise);
        const uint32_t differ = qpher_dispatch.mlkem->differ(cts + i * ct_len, job->again, ct_len);
        store_words_le(rejected, job->j, SYM / 8);
        ct_copy_if(ct_mask_nonzero32(differ), job->g.out, rejected, SYM);
        memcpy(secrets + i * SYM, job->g.out, SYM);
        qpher_wipe(rejected, SYM);
    }
    QPHER_CT_DECLASSIFY(secrets, n * SYM); /* the secrets are the caller's now */
    qpher_wipe(jobs, n * sizeof *jobs);
}

void mlkem_decapsulate(const qpher_mlkem_dk *dk, unsigned n, uint8_t *secrets, const uint8_t *cts)
{
    struct decapsulation jobs[MLKEM_BATCH];
    decapsulate(dk, jobs, n, secrets, cts);
}
