/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 key generation, and keys to and from their encodings. */
#include "mldsa_key.h"

#include <string.h>

#include "cpu.h"
#include "ct.h"
#include "keccak.h"
#include "mldsa_expand.h"
#include "mldsa_pack.h"
#include "mldsa_short.h"

/* ---- Shared steps -------------------------------------------------------------------------- */

/* From t1 at the end of row i to what verification reads there: NTT(-t1 * 2^d). */
static void transform_t1(const struct mldsa_params *p, qpher_mldsa_pk *pk, unsigned i)
{
    mldsa_poly *const t1 = &pk->rows[i * (p->l + 1) + p->l];
    for (unsigned j = 0; j < MLDSA_N; j++)
        t1->c[j] = -t1->c[j] * (1 << MLDSA_D);
    qpher_dispatch.mldsa->ntt(t1);
}

/* Row i of t = A*s1 + s2 (algorithm 6 line 5) from s1 in the NTT domain, and its halves by
 * Power2Round: t1 goes into the public key, encoded and at the end of its row; t0 is written. */
static void compute_t(const struct mldsa_params *p, qpher_mldsa_pk *pk, unsigned i, mldsa_poly *t0,
                      const mldsa_poly *s1_ntt, const mldsa_poly *s2)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    mldsa_poly *const row = &pk->rows[i * (p->l + 1)], *const t1 = &row[p->l];
    mldsa_poly t;
    unit->dot(&t, row, s1_ntt, p->l);
    unit->intt(&t);
    unit->add(&t, &t, s2);
    unit->power2round(t1, t0, &t);
    QPHER_CT_DECLASSIFY(t1, sizeof *t1); /* part of the public key */
    unit->pack_t1(pk->encoded + 32 + i * MLDSA_T1_BYTES, t1);
    qpher_wipe(&t, sizeof t);
}

void mldsa_key_prepare(const struct mldsa_params *p, qpher_mldsa_sk *sk)
{
    mlkem_poly *const s = mldsa_shorts(p, sk);
    if (sk->prepared)
        return;
    for (unsigned i = 0; i < p->l + p->k; i++) {
        for (unsigned j = 0; i >= p->l && j < MLDSA_N; j++)
            s[i].c[j] = (int16_t)-s[i].c[j];
        qpher_dispatch.mlkem->ntt(&s[i]);
    }
    for (unsigned i = 0; i < p->k; i++)
        qpher_dispatch.mldsa->ntt(&sk->t0[i]);
    sk->prepared = 1;
}

/* Keeps s1 as signing wants it, and transforms it for A*s1. */
static void take_s1(const struct mldsa_params *p, qpher_mldsa_sk *sk, mldsa_poly *s1)
{
    for (unsigned i = 0; i < p->l; i++) {
        mldsa_short_of(&mldsa_shorts(p, sk)[i], &s1[i]);
        qpher_dispatch.mldsa->ntt(&s1[i]);
    }
}

/* Keeps s2[i], and computes row i of the public key and of t0. */
static void take_row(const struct mldsa_params *p, qpher_mldsa_sk *sk, unsigned i,
                     const mldsa_poly *s)
{
    const mldsa_poly *const s2 = &s[p->l + i];
    mldsa_short_of(&mldsa_shorts(p, sk)[p->l + i], s2);
    compute_t(p, mldsa_pk_of(p, sk), i, &sk->t0[i], s, s2);
}

/* ---- Key generation ------------------------------------------------------------------------ */

/* Line 1: (rho, rho', K) = H(xi || k || l), for each of n seeds. */
static void expand_seeds(const struct mldsa_params *p, uint8_t expanded[][SHAKE256_RATE],
                         const uint8_t seeds[][MLDSA_SEED_BYTES], unsigned n)
{
    uint8_t input[KECCAK_MAX_LANES][34], *out[KECCAK_MAX_LANES];
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    keccak_lanes h;
    for (unsigned j = 0; j < n; j++) {
        memcpy(input[j], seeds[j], 32);
        input[j][32] = (uint8_t)p->k;
        input[j][33] = (uint8_t)p->l;
        in[j] = input[j];
        out[j] = expanded[j];
    }
    keccak_lanes_absorb(&h, n, SHAKE256_RATE, in, sizeof input[0]);
    keccak_lanes_squeeze_blocks(&h, out, 1);
    keccak_lanes_wipe(&h);
    qpher_wipe(input, n * sizeof input[0]);
}

/* Lines 2 to 9. */
static void generate(const struct mldsa_params *p, qpher_mldsa_sk *sk,
                     const uint8_t seed[MLDSA_SEED_BYTES], uint8_t expanded[SHAKE256_RATE])
{
    qpher_mldsa_pk *const pk = mldsa_pk_of(p, sk);
    mldsa_poly s[MLDSA_MAX_L + MLDSA_MAX_K]; /* s1, s2 */
    struct mldsa_expansion x;

    QPHER_CT_DECLASSIFY(expanded, 32); /* rho is part of the public key */
    sk->set = pk->set = p->set;
    sk->has_seed = 1;
    sk->prepared = 0;
    memcpy(sk->seed, seed, 32);
    memcpy(sk->key, expanded + 96, 32);
    memcpy(pk->encoded, expanded, 32);
    mldsa_expand_start(&x, p, pk, s, expanded + 32);
    for (unsigned i = 0; i < p->k; i++) {
        mldsa_expand_row(&x, i);
        if (i == 0)
            take_s1(p, sk, s);
        take_row(p, sk, i, s);
        x.known = 32 + (i + 1) * MLDSA_T1_BYTES;
    }
    mldsa_expand_finish(&x);
    qpher_wipe(s, (p->l + p->k) * sizeof s[0]);
}

void mldsa_keys_from_seeds(const struct mldsa_params *p, qpher_mldsa_sk *const sk[],
                           const uint8_t seeds[][MLDSA_SEED_BYTES], unsigned n)
{
    uint8_t expanded[KECCAK_MAX_LANES][SHAKE256_RATE];
    expand_seeds(p, expanded, seeds, n);
    for (unsigned j = 0; j < n; j++)
        generate(p, sk[j], seeds[j], expanded[j]);
    qpher_wipe(expanded, n * sizeof expanded[0]);
}

/* ---- Public keys --------------------------------------------------------------------------- */

void mldsa_key_load_public(const struct mldsa_params *p, qpher_mldsa_pk *pk, const uint8_t *in)
{
    struct mldsa_expansion x;
    pk->set = p->set;
    memcpy(pk->encoded, in, p->pk_bytes);
    mldsa_expand_start(&x, p, pk, NULL, NULL);
    x.known = p->pk_bytes;
    for (unsigned i = 0; i < p->k; i++) {
        mldsa_expand_row(&x, i);
        qpher_dispatch.mldsa->unpack_t1(&pk->rows[i * (p->l + 1) + p->l], in + 32 + i * MLDSA_T1_BYTES);
        transform_t1(p, pk, i);
    }
    mldsa_expand_finish(&x);
}

void mldsa_key_public(const struct mldsa_params *p, qpher_mldsa_pk *pk, const qpher_mldsa_sk *sk)
{
    memcpy(pk, mldsa_pk_of(p, sk), mldsa_pk_object_bytes(p));
    for (unsigned i = 0; i < p->k; i++)
        transform_t1(p, pk, i);
}

/* ---- The expanded encoding: rho, K, tr, s1, s2, t0 ------------------------------------------ */

/* Reads n polynomials of s1 or s2; nonzero if a coefficient is out of range. */
static uint32_t unpack_short(const struct mldsa_params *p, mldsa_poly *s, unsigned n,
                             const uint8_t *in)
{
    uint32_t bad = 0;
    for (unsigned i = 0; i < n; i++) {
        mldsa_unpack(&s[i], in + i * mldsa_packed_bytes(p->eta_bits), (int32_t)p->eta, p->eta_bits);
        bad |= qpher_dispatch.mldsa->exceeds(&s[i], (int32_t)p->eta + 1);
    }
    return bad;
}

/* Algorithm 25 accepts any string; a key whose parts do not belong together would make
 * signatures that do not verify, or that betray it. So s1 and s2 must be short, and t0 and tr
 * must be those that key generation computes from the rest. That a key was refused is public. */
int mldsa_key_from_expanded(const struct mldsa_params *p, qpher_mldsa_sk *sk, const uint8_t *in)
{
    const uint8_t *const s_in = in + 128,
                  *const t0 = s_in + (p->l + p->k) * mldsa_packed_bytes(p->eta_bits);
    qpher_mldsa_pk *const pk = mldsa_pk_of(p, sk);
    mldsa_poly s[MLDSA_MAX_L + MLDSA_MAX_K]; /* s1, s2 */
    struct mldsa_expansion x;
    uint8_t packed[MLDSA_T0_BYTES];
    uint32_t bad;

    QPHER_CT_DECLASSIFY(in, 32); /* rho is part of the public key */
    sk->set = pk->set = p->set;
    sk->has_seed = 0;
    sk->prepared = 0;
    memset(sk->seed, 0, sizeof sk->seed);
    memcpy(pk->encoded, in, 32);
    memcpy(sk->key, in + 32, 32);
    bad = unpack_short(p, s, p->l + p->k, s_in);
    QPHER_CT_DECLASSIFY(&bad, sizeof bad);
    if (bad != 0)
        goto cleanup; /* before sums that rely on the range */

    take_s1(p, sk, s);
    mldsa_expand_start(&x, p, pk, NULL, NULL);
    for (unsigned i = 0; i < p->k; i++) {
        mldsa_expand_row(&x, i);
        take_row(p, sk, i, s);
        x.known = 32 + (i + 1) * MLDSA_T1_BYTES;
        mldsa_pack(packed, &sk->t0[i], 1 << (MLDSA_D - 1), MLDSA_D);
        bad |= ct_mask_differ(packed, t0 + i * MLDSA_T0_BYTES, MLDSA_T0_BYTES);
    }
    mldsa_expand_finish(&x);
    bad |= ct_mask_differ(pk->tr, in + 64, MLDSA_TR_BYTES);
    QPHER_CT_DECLASSIFY(&bad, sizeof bad);
    qpher_wipe(packed, sizeof packed);
cleanup:
    qpher_wipe(s, (p->l + p->k) * sizeof s[0]);
    return bad != 0 ? QPHER_ERR_KEY : QPHER_OK;
}

/* Packs n polynomials of s1, or of s2 with sign = -1, from the domain in which they are kept. */
static void pack_shorts(const struct mldsa_params *p, const mlkem_poly *s, unsigned n, int32_t sign,
                        uint8_t *out)
{
    const mldsa_poly constant = {{sign}};
    mlkem_factor factor;
    mlkem_poly product;
    mldsa_poly t;
    mldsa_short_factor(&factor, &constant);
    for (unsigned i = 0; i < n; i++, out += mldsa_packed_bytes(p->eta_bits)) {
        memset(&t, 0, sizeof t);
        mldsa_short_product(&product, &s[i], &factor);
        qpher_dispatch.mldsa->add_short(&t, product.c, MLDSA_Q);
        mldsa_pack(out, &t, (int32_t)p->eta, p->eta_bits);
    }
    qpher_wipe(&product, sizeof product);
    qpher_wipe(&t, sizeof t);
}

static void pack_t0(const mldsa_poly *t0, unsigned n, uint8_t *out)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    const mldsa_poly zero = {{0}};
    mldsa_poly one, t;
    for (unsigned j = 0; j < MLDSA_N; j++)
        one.c[j] = 1;
    for (unsigned i = 0; i < n; i++, out += MLDSA_T0_BYTES) {
        unit->dot(&t, &t0[i], &one, 1); /* the factor 2^-32 that intt takes away */
        unit->intt(&t);
        unit->add(&t, &t, &zero);
        mldsa_pack(out, &t, 1 << (MLDSA_D - 1), MLDSA_D);
    }
    qpher_wipe(&t, sizeof t);
}

void mldsa_key_expanded(const struct mldsa_params *p, const qpher_mldsa_sk *sk, uint8_t *out)
{
    const qpher_mldsa_pk *const pk = mldsa_pk_of(p, sk);
    const size_t s_bytes = mldsa_packed_bytes(p->eta_bits);
    const mlkem_poly *const s1 = mldsa_shorts(p, sk), *const minus_s2 = s1 + p->l;

    memcpy(out, pk->encoded, 32);
    memcpy(out + 32, sk->key, 32);
    memcpy(out + 64, pk->tr, MLDSA_TR_BYTES);
    out += 128;
    pack_shorts(p, s1, p->l, 1, out);
    pack_shorts(p, minus_s2, p->k, -1, out + p->l * s_bytes);
    pack_t0(sk->t0, p->k, out + (p->l + p->k) * s_bytes);
}
