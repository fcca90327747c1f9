/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 key generation, and keys to and from their encodings. */
#include "mldsa_key.h"

#include <string.h>

#include "cpu.h"
#include "ct.h"
#include "keccak.h"
#include "mldsa_pack.h"
#include "mldsa_sample.h"

/* ---- Shared steps -------------------------------------------------------------------------- */

/* t = A*s1 + s2 (algorithm 6 line 5) from s1 in the NTT domain, and its halves by Power2Round:
 * t1 goes into the public key, encoded and, as NTT(-t1 * 2^d), into its rows; t0 is written. */
static void compute_t(const struct mldsa_params *p, qpher_mldsa_pk *pk, mldsa_poly *t0,
                      const mldsa_poly *s1_ntt, const mldsa_poly *s2)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    mldsa_poly t;
    for (unsigned i = 0; i < p->k; i++) {
        mldsa_poly *const row = &pk->rows[i * (p->l + 1)], *const t1 = &row[p->l];
        unit->dot(&t, row, s1_ntt, p->l);
        unit->intt(&t);
        unit->add(&t, &t, &s2[i]);
        unit->power2round(t1, &t0[i], &t);
        QPHER_CT_DECLASSIFY(t1, sizeof *t1); /* part of the public key */
        mldsa_pack_t1(pk->encoded + 32 + i * MLDSA_T1_BYTES, t1);
        for (unsigned j = 0; j < MLDSA_N; j++)
            t1->c[j] = -t1->c[j] * (1 << MLDSA_D);
        unit->ntt(t1);
    }
    qpher_wipe(&t, sizeof t);
}

static void negate(mldsa_poly *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < MLDSA_N; j++)
            a[i].c[j] = -a[i].c[j];
}

/* s2 and t0 go into the form in which signing reads them. */
static void transform_s2_t0(const struct mldsa_params *p, qpher_mldsa_sk *sk)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    mldsa_poly *const s2 = mldsa_minus_s2(p, sk), *const t0 = mldsa_t0(p, sk);
    negate(s2, p->k);
    for (unsigned i = 0; i < p->k; i++) {
        unit->ntt(&s2[i]);
        unit->ntt(&t0[i]);
    }
}

static void transform_s1(const struct mldsa_params *p, qpher_mldsa_sk *sk)
{
    for (unsigned i = 0; i < p->l; i++)
        qpher_dispatch.mldsa->ntt(&mldsa_s1(sk)[i]);
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

/* Lines 2 to 8: everything but tr. */
static void generate(const struct mldsa_params *p, qpher_mldsa_sk *sk,
                     const uint8_t seed[MLDSA_SEED_BYTES], uint8_t expanded[SHAKE256_RATE])
{
    qpher_mldsa_pk *const pk = mldsa_pk_of(p, sk);

    QPHER_CT_DECLASSIFY(expanded, 32); /* rho is part of the public key */
    sk->set = pk->set = p->set;
    sk->has_seed = 1;
    memcpy(sk->seed, seed, 32);
    memcpy(sk->key, expanded + 96, 32);
    memcpy(pk->encoded, expanded, 32);
    mldsa_expand_a(p, pk->rows, p->l + 1, expanded);
    mldsa_expand_s(p, sk->vectors, expanded + 32); /* s1, then s2 in the place of -s2 */
    transform_s1(p, sk);
    compute_t(p, pk, mldsa_t0(p, sk), mldsa_s1(sk), mldsa_minus_s2(p, sk));
    transform_s2_t0(p, sk);
}

void mldsa_keys_from_seeds(const struct mldsa_params *p, qpher_mldsa_sk *const sk[],
                           const uint8_t seeds[][MLDSA_SEED_BYTES], unsigned n)
{
    uint8_t block[KECCAK_MAX_LANES][SHAKE256_RATE], *out[KECCAK_MAX_LANES];
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    keccak_lanes h;

    expand_seeds(p, block, seeds, n);
    for (unsigned j = 0; j < n; j++) {
        generate(p, sk[j], seeds[j], block[j]);
        in[j] = mldsa_pk_of(p, sk[j])->encoded;
        out[j] = block[j];
    }
    qpher_wipe(block, n * sizeof block[0]);

    /* Line 9: tr = H(pk, 64). */
    keccak_lanes_absorb(&h, n, SHAKE256_RATE, in, p->pk_bytes);
    keccak_lanes_squeeze_blocks(&h, out, 1);
    for (unsigned j = 0; j < n; j++)
        memcpy(mldsa_pk_of(p, sk[j])->tr, block[j], MLDSA_TR_BYTES);
}

/* ---- Public keys --------------------------------------------------------------------------- */

void mldsa_key_load_public(const struct mldsa_params *p, qpher_mldsa_pk *pk, const uint8_t *in)
{
    pk->set = p->set;
    memcpy(pk->encoded, in, p->pk_bytes);
    mldsa_expand_a(p, pk->rows, p->l + 1, in);
    for (unsigned i = 0; i < p->k; i++) {
        mldsa_poly *const t1 = &pk->rows[i * (p->l + 1) + p->l];
        mldsa_unpack_t1(t1, in + 32 + i * MLDSA_T1_BYTES);
        for (unsigned j = 0; j < MLDSA_N; j++)
            t1->c[j] = -t1->c[j] * (1 << MLDSA_D);
        qpher_dispatch.mldsa->ntt(t1);
    }
    shake256(pk->tr, MLDSA_TR_BYTES, pk->encoded, p->pk_bytes);
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
    const size_t s_bytes = mldsa_packed_bytes(p->eta_bits);
    const uint8_t *const s1 = in + 128, *const s2 = s1 + p->l * s_bytes,
                  *const t0 = s2 + p->k * s_bytes;
    qpher_mldsa_pk *const pk = mldsa_pk_of(p, sk);
    uint8_t packed[MLDSA_T0_BYTES];
    uint32_t bad;

    QPHER_CT_DECLASSIFY(in, 32); /* rho is part of the public key */
    sk->set = pk->set = p->set;
    sk->has_seed = 0;
    memset(sk->seed, 0, sizeof sk->seed);
    memcpy(pk->encoded, in, 32);
    memcpy(sk->key, in + 32, 32);
    mldsa_expand_a(p, pk->rows, p->l + 1, in);
    bad = unpack_short(p, mldsa_s1(sk), p->l, s1);
    bad |= unpack_short(p, mldsa_minus_s2(p, sk), p->k, s2);
    QPHER_CT_DECLASSIFY(&bad, sizeof bad);
    if (bad != 0)
        return QPHER_ERR_KEY; /* before sums that rely on the range */

    transform_s1(p, sk);
    compute_t(p, pk, mldsa_t0(p, sk), mldsa_s1(sk), mldsa_minus_s2(p, sk));
    for (unsigned i = 0; i < p->k; i++) {
        mldsa_pack(packed, &mldsa_t0(p, sk)[i], 1 << (MLDSA_D - 1), MLDSA_D);
        bad |= ct_mask_differ(packed, t0 + i * MLDSA_T0_BYTES, MLDSA_T0_BYTES);
    }
    transform_s2_t0(p, sk);
    shake256(pk->tr, MLDSA_TR_BYTES, pk->encoded, p->pk_bytes);
    bad |= ct_mask_differ(pk->tr, in + 64, MLDSA_TR_BYTES);
    QPHER_CT_DECLASSIFY(&bad, sizeof bad);
    qpher_wipe(packed, sizeof packed);
    return bad != 0 ? QPHER_ERR_KEY : QPHER_OK;
}

/* Packs n polynomials that are kept in the NTT domain, negated if sign is -1. */
static void pack_from_ntt(const mldsa_poly *a, unsigned n, uint8_t *out, int32_t sign, int32_t top,
                          unsigned bits)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    mldsa_poly one, zero = {{0}}, t;
    for (unsigned j = 0; j < MLDSA_N; j++)
        one.c[j] = sign;
    for (unsigned i = 0; i < n; i++) {
        unit->dot(&t, &a[i], &one, 1); /* the factor 2^-32 that intt takes away */
        unit->intt(&t);
        unit->add(&t, &t, &zero);
        mldsa_pack(out + i * mldsa_packed_bytes(bits), &t, top, bits);
    }
    qpher_wipe(&t, sizeof t);
}

void mldsa_key_expanded(const struct mldsa_params *p, const qpher_mldsa_sk *sk, uint8_t *out)
{
    const qpher_mldsa_pk *const pk = mldsa_pk_of(p, sk);
    const size_t s_bytes = mldsa_packed_bytes(p->eta_bits);
    const mldsa_poly *const s1 = sk->vectors, *const minus_s2 = s1 + p->l,
                           *const t0 = minus_s2 + p->k;

    memcpy(out, pk->encoded, 32);
    memcpy(out + 32, sk->key, 32);
    memcpy(out + 64, pk->tr, MLDSA_TR_BYTES);
    out += 128;
    pack_from_ntt(s1, p->l, out, 1, (int32_t)p->eta, p->eta_bits);
    out += p->l * s_bytes;
    pack_from_ntt(minus_s2, p->k, out, -1, (int32_t)p->eta, p->eta_bits);
    out += p->k * s_bytes;
    pack_from_ntt(t0, p->k, out, 1, 1 << (MLDSA_D - 1), MLDSA_D);
}
