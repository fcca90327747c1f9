/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: key generation, encapsulation and decapsulation (FIPS 203 section 6). */
#include "mlkem_kem.h"

#include <string.h>

#include "cpu.h"
#include "ct.h"
#include "mlkem_kpke.h"

enum { SYM = MLKEM_SYM_BYTES };

/* ---- Key generation ---------------------------------------------------------------------------- */

struct key_job {
    struct mlkem_g g;
    struct mlkem_noise noise;
};

/* H(ek) (4.4) of each key. */
static void hash_keys(qpher_mlkem_dk *const dks[], unsigned n)
{
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    uint8_t blocks[KECCAK_MAX_LANES][SHA3_256_RATE], *out[KECCAK_MAX_LANES] = {0};
    keccak_lanes lanes;
    for (unsigned i = 0; i < n; i++) {
        in[i] = dks[i]->ek.encoded;
        out[i] = blocks[i];
    }
    keccak_lanes_absorb_suffix(&lanes, n, SHA3_256_RATE, KECCAK_SUFFIX_SHA3, in,
                               dks[0]->ek.params->ek_len);
    keccak_lanes_squeeze_blocks(&lanes, out, 1);
    for (unsigned i = 0; i < n; i++)
        memcpy(dks[i]->ek.h, blocks[i], SYM);
}

static void keygen(qpher_mlkem_dk *const dks[], struct key_job jobs[], unsigned n)
{
    const struct mlkem_params *params = dks[0]->ek.params;
    const unsigned k = params->k;
    struct mlkem_queue queue;

    mlkem_queue_start(&queue);
    for (unsigned i = 0; i < n; i++) {
        memcpy(jobs[i].g.in, dks[i]->d, SYM);
        memset(jobs[i].g.in + SYM, 0, SYM);
        jobs[i].g.in[SYM] = (uint8_t)k;
        mlkem_queue_g(&queue, &jobs[i].g, SYM + 1);
    }
    mlkem_queue_finish(&queue); /* rho || sigma */

    for (unsigned i = 0; i < n; i++) {
        uint8_t *rho = dks[i]->ek.encoded + k * MLKEM_POLY_BYTES;
        memcpy(rho, jobs[i].g.out, SYM);
        QPHER_CT_DECLASSIFY(rho, SYM); /* rho is part of the public key */
        mlkem_queue_matrix(&queue, &dks[i]->ek, rho);
    }
    for (unsigned i = 0; i < n; i++)
        mlkem_queue_noise(&queue, &jobs[i].noise, params, 2 * k, 2 * k, jobs[i].g.out + SYM);
    mlkem_queue_finish(&queue);

    for (unsigned i = 0; i < n; i++)
        mlkem_kpke_keygen(dks[i], &jobs[i].noise);
    hash_keys(dks, n);
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
    uint8_t j_in[SYM + MLKEM_MAX_CT], j_out[SHAKE256_RATE];
    struct mlkem_noise noise;
    uint8_t again[MLKEM_MAX_CT];
};

/* J(z || c) (4.4) of several ciphertexts. */
static void hash_rejected(struct decapsulation jobs[], unsigned n, size_t len)
{
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    uint8_t *out[KECCAK_MAX_LANES] = {0};
    keccak_lanes lanes;
    for (unsigned i = 0; i < n; i++) {
        in[i] = jobs[i].j_in;
        out[i] = jobs[i].j_out;
    }
    keccak_lanes_absorb(&lanes, n, SHAKE256_RATE, in, len);
    keccak_lanes_squeeze_blocks(&lanes, out, 1);
    keccak_lanes_wipe(&lanes);
}

/* The rest of J of one ciphertext, from its third block on. */
static void finish_rejected(struct decapsulation *job, keccak_sponge *j, size_t len)
{
    const size_t absorbed = 2 * SHAKE256_RATE;
    shake_absorb(j, job->j_in + absorbed, len - absorbed);
    shake_finalize(j);
    shake_squeeze(j, job->j_out, SYM);
    keccak_sponge_wipe(j);
}

/* The first two blocks of a single J ride along with G and with the PRF, where lanes are free;
 * several of them fill lanes of their own. */
static void decapsulate(const qpher_mlkem_dk *dk, struct decapsulation jobs[], unsigned n,
                        uint8_t *secrets, const uint8_t *cts)
{
    const struct mlkem_params *params = dk->ek.params;
    const unsigned ct_len = params->ct_len;
    struct mlkem_queue queue;
    keccak_sponge j;

    mlkem_queue_start(&queue);
    for (unsigned i = 0; i < n; i++) {
        struct decapsulation *job = &jobs[i];
        mlkem_kpke_decrypt(job->g.in, dk, cts + i * ct_len);
        memcpy(job->g.in + SYM, dk->ek.h, SYM);
        memcpy(job->j_in, dk->z, SYM);
        memcpy(job->j_in + SYM, cts + i * ct_len, ct_len);
        mlkem_queue_g(&queue, &job->g, 2 * SYM);
    }
    shake256_init(&j);
    if (n == 1)
        mlkem_queue_absorb(&queue, j.s, jobs->j_in);
    else
        hash_rejected(jobs, n, SYM + ct_len);
    mlkem_queue_finish(&queue);

    for (unsigned i = 0; i < n; i++)
        mlkem_queue_noise(&queue, &jobs[i].noise, params, params->k, 2 * params->k + 1,
                          jobs[i].g.out + SYM);
    if (n == 1)
        mlkem_queue_absorb(&queue, j.s, jobs->j_in + SHAKE256_RATE);
    mlkem_queue_finish(&queue);
    if (n == 1)
        finish_rejected(jobs, &j, SYM + ct_len);

    for (unsigned i = 0; i < n; i++) {
        struct decapsulation *job = &jobs[i];
        mlkem_kpke_encrypt(job->again, &dk->ek, job->g.in, &job->noise);
        const uint32_t differ = qpher_dispatch.mlkem->differ(cts + i * ct_len, job->again, ct_len);
        ct_copy_if(ct_mask_nonzero32(differ), job->g.out, job->j_out, SYM);
        memcpy(secrets + i * SYM, job->g.out, SYM);
    }
    QPHER_CT_DECLASSIFY(secrets, n * SYM); /* the secrets are the caller's now */
    qpher_wipe(jobs, n * sizeof *jobs);
}

void mlkem_decapsulate(const qpher_mlkem_dk *dk, unsigned n, uint8_t *secrets, const uint8_t *cts)
{
    struct decapsulation jobs[MLKEM_BATCH];
    decapsulate(dk, jobs, n, secrets, cts);
}
