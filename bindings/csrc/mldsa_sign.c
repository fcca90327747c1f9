/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 algorithm 7, ML-DSA.Sign_internal: Fiat-Shamir with aborts.
 *
 * A candidate is one pass of the rejection loop, with masks of its own. A step works on several
 * candidates side by side, so that their hashes share Keccak lanes: of different jobs while there
 * are enough, else several of one job with successive kappa. The candidates of a job are judged
 * in the order of kappa and the first good one wins, so the signature is the one that the
 * standard's loop gives.
 *
 * What may show in the running time, and is therefore declassified:
 *   - the commitment hash of every candidate, rejected or not. The signature publishes it in the
 *     end; of a rejected candidate it is the hash of a high-entropy w1 that is never shown;
 *   - whether a candidate is rejected, by which polynomial of which check. Whether a coefficient
 *     of z or of w0 - c*s2 leaves its range has the same probability for every secret key (that
 *     is what beta is for), so these events are independent of s1 and s2; only a rejected value
 *     itself would tell, and it is never used;
 *   - c*t0 against its bound, and the number of hints: t0 counts as public in the security proof
 *     of ML-DSA;
 *   - z and the hint of the accepted candidate: they are the signature. */
#include "mldsa_sign.h"

#include <string.h>

#include "cpu.h"
#include "ct.h"
#include "keccak.h"
#include "mldsa_pack.h"
#include "mldsa_sample.h"
#include "mldsa_short.h"

enum { MAX_WIDTH = KECCAK_MAX_LANES };

/* One pass of the loop: what it needs from the commitment to the answer. */
struct candidate {
    struct mldsa_job *job;
    mldsa_poly y[MLDSA_MAX_L];
    mldsa_poly w0[MLDSA_MAX_K];
    mldsa_poly c;
    mlkem_factor short_c;
    mlkem_poly short_product; /* of c and a polynomial of s1 or s2 */
    mldsa_poly ct0;           /* or of t0 */
    uint8_t w1[MLDSA_MAX_K][MLDSA_N];
    uint8_t hashed[MLDSA_MU_BYTES + MLDSA_MAX_W1_BYTES]; /* mu || w1Encode(w1) */
    uint8_t ctilde[SHAKE256_RATE];
};

/* Lines 7 to 8: rho'' = H(K || rnd || mu) of n <= 8 jobs. */
static void start(const qpher_mldsa_sk *sk, struct mldsa_job *jobs, unsigned n)
{
    uint8_t input[KECCAK_MAX_LANES][32 + 32 + MLDSA_MU_BYTES];
    uint8_t block[KECCAK_MAX_LANES][SHAKE256_RATE], *out[KECCAK_MAX_LANES];
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    keccak_lanes h;

    for (unsigned j = 0; j < n; j++) {
        memcpy(input[j], sk->key, 32);
        memcpy(input[j] + 32, jobs[j].rnd, 32);
        memcpy(input[j] + 64, jobs[j].mu, MLDSA_MU_BYTES);
        in[j] = input[j];
        out[j] = block[j];
    }
    keccak_lanes_absorb(&h, n, SHAKE256_RATE, in, sizeof input[0]);
    keccak_lanes_squeeze_blocks(&h, out, 1);
    for (unsigned j = 0; j < n; j++) {
        memcpy(jobs[j].rho_second, block[j], MLDSA_RHO_PRIME_BYTES);
        jobs[j].kappa = 0;
        jobs[j].done = 0;
    }
    keccak_lanes_wipe(&h);
    qpher_wipe(input, n * sizeof input[0]);
    qpher_wipe(block, n * sizeof block[0]);
}

/* Lines 11 to 13 for n candidates: their masks, w = A*y, and its two parts. */
static void commit(const struct mldsa_params *p, const qpher_mldsa_pk *pk, struct candidate *cand,
                   unsigned n)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    const size_t w1_bytes = mldsa_packed_bytes(p->w1_bits);
    struct mldsa_mask masks[MAX_WIDTH];
    mldsa_poly y_ntt[MLDSA_MAX_L];

    for (unsigned j = 0; j < n; j++) {
        struct mldsa_job *const job = cand[j].job;
        masks[j] = (struct mldsa_mask){cand[j].y, job->rho_second, job->kappa};
        job->kappa += p->l;
    }
    mldsa_expand_masks(p, masks, n);
    for (unsigned j = 0; j < n; j++) {
        memcpy(cand[j].hashed, cand[j].job->mu, MLDSA_MU_BYTES);
        memcpy(y_ntt, cand[j].y, p->l * sizeof y_ntt[0]);
        for (unsigned i = 0; i < p->l; i++)
            unit->ntt(&y_ntt[i]);
        for (unsigned i = 0; i < p->k; i++) {
            mldsa_poly *const w = &cand[j].w0[i];
            unit->dot(w, &pk->rows[i * (p->l + 1)], y_ntt, p->l);
            unit->intt(w);
            unit->decompose(cand[j].w1[i], w, w, p->gamma2);
            unit->pack_w1(cand[j].hashed + MLDSA_MU_BYTES + i * w1_bytes, cand[j].w1[i], p->w1_bits);
        }
    }
    qpher_wipe(y_ntt, p->l * sizeof y_ntt[0]);
}

/* Lines 15 to 17 for n candidates: the commitment hash and the challenge it gives. */
static void challenge(const struct mldsa_params *p, struct candidate *cand, unsigned n)
{
    const uint8_t *in[MAX_WIDTH] = {0};
    uint8_t *out[MAX_WIDTH];
    mldsa_poly *c[MAX_WIDTH];
    keccak_lanes h;

    for (unsigned j = 0; j < n; j++) {
        in[j] = cand[j].hashed;
        out[j] = cand[j].ctilde;
        c[j] = &cand[j].c;
    }
    keccak_lanes_absorb(&h, n, SHAKE256_RATE, in,
                        MLDSA_MU_BYTES + p->k * mldsa_packed_bytes(p->w1_bits));
    keccak_lanes_squeeze_blocks(&h, out, 1);
    keccak_lanes_wipe(&h);
    for (unsigned j = 0; j < n; j++)
        QPHER_CT_DECLASSIFY(cand[j].ctilde, p->ctilde_bytes);
    mldsa_sample_in_ball(p, c, (const uint8_t *const *)out, n);
    for (unsigned j = 0; j < n; j++)
        mldsa_short_factor(&cand[j].short_c, c[j]);
}

/* r = r + c*s, and whether any coefficient is bound or more. */
static uint32_t add_product(struct candidate *cand, mldsa_poly *r, const mlkem_poly *s,
                            int32_t bound)
{
    uint32_t bad;
    mldsa_short_product(&cand->short_product, s, &cand->short_c);
    bad = qpher_dispatch.mldsa->add_short(r, cand->short_product.c, bound);
    QPHER_CT_DECLASSIFY(&bad, sizeof bad);
    return bad;
}

/* c*t0[i] mod+- q, and whether any coefficient is bound or more. c is in the NTT domain. */
static uint32_t multiply_t0(struct candidate *cand, const mldsa_poly *t0, int32_t bound)
{
    static const mldsa_poly zero;
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    uint32_t bad;
    unit->dot(&cand->ct0, &cand->c, t0, 1);
    unit->intt(&cand->ct0);
    unit->add(&cand->ct0, &cand->ct0, &zero);
    bad = unit->exceeds(&cand->ct0, bound);
    QPHER_CT_DECLASSIFY(&bad, sizeof bad);
    return bad;
}

/* Algorithm 26, sigEncode, of an accepted candidate. */
static void encode(const struct mldsa_params *p, const struct candidate *cand,
                   const uint8_t h[][MLDSA_N])
{
    uint8_t *out = cand->job->signature;
    QPHER_CT_DECLASSIFY(cand->y, p->l * sizeof cand->y[0]);
    QPHER_CT_DECLASSIFY(h, p->k * sizeof h[0]);
    memcpy(out, cand->ctilde, p->ctilde_bytes);
    out += p->ctilde_bytes;
    for (unsigned i = 0; i < p->l; i++, out += mldsa_packed_bytes(p->z_bits))
        qpher_dispatch.mldsa->pack_z(out, &cand->y[i], p->z_bits);
    mldsa_pack_hint(p, out, h);
}

/* Lines 18 to 28: the answer of one candidate; 0 if it is good, and then the signature is
 * written. y becomes z and w0 becomes w0 - c*s2; the check of that comes first, because it
 * refuses most. */
static int respond(const struct mldsa_params *p, const qpher_mldsa_sk *sk, struct candidate *cand)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    const mlkem_poly *const s1 = mldsa_shorts(p, sk), *const minus_s2 = s1 + p->l;
    mldsa_poly *const y = cand->y, *const w0 = cand->w0, *const ct0 = &cand->ct0;
    uint8_t h[MLDSA_MAX_K][MLDSA_N];
    unsigned ones = 0;

    for (unsigned i = 0; i < p->k; i++)
        if (add_product(cand, &w0[i], &minus_s2[i], p->gamma2 - p->beta))
            return -1;
    for (unsigned i = 0; i < p->l; i++)
        if (add_product(cand, &y[i], &s1[i], p->gamma1 - p->beta))
            return -1;
    unit->ntt(&cand->c);
    for (unsigned i = 0; i < p->k; i++) {
        if (multiply_t0(cand, &sk->t0[i], p->gamma2))
            goto reject;
        unit->add(ct0, ct0, &w0[i]);
        ones += unit->make_hint(h[i], ct0, cand->w1[i], p->gamma2);
    }
    QPHER_CT_DECLASSIFY(&ones, sizeof ones);
    if (ones > p->omega)
        goto reject;
    encode(p, cand, (const uint8_t(*)[MLDSA_N])h);
    return 0;
reject:
    qpher_wipe(h, sizeof h); /* no one sees the hints of a candidate that was not accepted */
    return -1;
}

/* Gives each candidate of a step a job, the open ones in turn: one candidate each, or more while
 * there are fewer jobs than it pays to hash at once. Returns how many there are. */
static unsigned deal(struct candidate *cand, struct mldsa_job *const open[], unsigned jobs)
{
    const unsigned least = qpher_dispatch.mldsa->speculation;
    const unsigned n = jobs > least ? jobs : least;
    for (unsigned j = 0; j < n; j++)
        cand[j].job = open[j % jobs];
    return n;
}

/* Wipes what n candidates held; their challenges are public. */
static void forget(const struct mldsa_params *p, struct candidate *cand, unsigned n)
{
    for (unsigned j = 0; j < n; j++) {
        qpher_wipe(cand[j].y, p->l * sizeof cand[j].y[0]);
        qpher_wipe(cand[j].w0, p->k * sizeof cand[j].w0[0]);
        qpher_wipe(&cand[j].short_product, sizeof cand[j].short_product);
        qpher_wipe(&cand[j].ct0, sizeof cand[j].ct0);
        qpher_wipe(cand[j].w1, p->k * sizeof cand[j].w1[0]);
        qpher_wipe(cand[j].hashed, sizeof cand[j].hashed);
    }
}

void mldsa_sign(const struct mldsa_params *p, const qpher_mldsa_sk *sk, struct mldsa_job *jobs,
                unsigned n)
{
    const unsigned width = keccak_preferred_lanes();
    struct mldsa_job *open[MAX_WIDTH];
    struct candidate cand[MAX_WIDTH];
    unsigned started = 0, count = 0, used = 0;

    for (unsigned done = 0; done < n; done += KECCAK_MAX_LANES)
        start(sk, jobs + done, n - done < KECCAK_MAX_LANES ? n - done : KECCAK_MAX_LANES);
    for (;;) {
        unsigned step;
        while (count < width && started < n)
            open[count++] = &jobs[started++];
        if (count == 0)
            break;
        step = deal(cand, open, count);
        used = step > used ? step : used;
        commit(p, mldsa_pk_of(p, sk), cand, step);
        challenge(p, cand, step);
        for (unsigned j = 0; j < step; j++)
            if (!cand[j].job->done)
                cand[j].job->done = respond(p, sk, &cand[j]) == 0;
        for (unsigned j = 0; j < count;) {
            if (open[j]->done) {
                qpher_wipe(open[j]->rho_second, sizeof open[j]->rho_second);
                open[j] = open[--count];
            } else {
                j++;
            }
        }
    }
    forget(p, cand, used);
}
