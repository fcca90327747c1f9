/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 algorithms 30 to 33: the matrix, s1 and s2, and beside them tr. */
#include "mldsa_expand.h"

#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "ct.h"

enum { RHO_WORDS = 4, RHO_PRIME_WORDS = 8, NO_LANE = KECCAK_MAX_LANES };

void mldsa_expand_start(struct mldsa_expansion *x, const struct mldsa_params *p, qpher_mldsa_pk *pk,
                        mldsa_poly *s, const uint8_t *rho_prime)
{
    const unsigned secret = rho_prime != NULL;
    x->p = p;
    x->pk = pk;
    x->s = s;
    x->rho_prime = rho_prime;
    x->part = x->index = 0;
    x->lacks[0] = secret * p->l;
    for (unsigned i = 1; i <= p->k; i++)
        x->lacks[i] = p->l + secret;
    x->known = 0;
    x->hashed = 0;
    memset(x->chain, 0, sizeof x->chain);
    memset(x->lane, 0, sizeof x->lane);
    keccak_lanes_open(&x->k);
}

/* ---- Polynomials ----------------------------------------------------------------------------- */

/* SHAKE of a seed of so many words and a number of two bytes. */
static void put_seed(keccak_lanes *k, unsigned j, const uint8_t *seed, unsigned words,
                     unsigned number, unsigned rate)
{
    uint64_t *const s = k->s + j;
    for (unsigned i = 0; i < 25; i++)
        s[k->lanes * i] = i < words ? load64_le(seed + 8 * i) : 0;
    s[k->lanes * words] = number | (uint64_t)KECCAK_SUFFIX_SHAKE << 16;
    s[k->lanes * (rate / 8 - 1)] = (uint64_t)1 << 63;
}

/* Gives a lane the next polynomial, if there is one left to begin. */
static void begin(struct mldsa_expansion *x, unsigned j)
{
    const unsigned l = x->p->l, i = x->index, row = x->part - 1;
    if (x->part > x->p->k)
        return;
    if (x->part > 0 && i < l) {
        x->lane[j] = (struct mldsa_expand_lane){&x->pk->rows[row * (l + 1) + i], 0, x->part, 0};
        put_seed(&x->k, j, x->pk->encoded, RHO_WORDS, i | row << 8, SHAKE128_RATE);
    } else if (x->rho_prime != NULL) {
        const unsigned number = x->part == 0 ? i : l + row;
        x->lane[j] = (struct mldsa_expand_lane){&x->s[number], 0, x->part, 1};
        put_seed(&x->k, j, x->rho_prime, RHO_PRIME_WORDS, number, SHAKE256_RATE);
    }
    x->index++;
    if (x->index == (x->part == 0 ? l : l + (x->rho_prime != NULL))) {
        x->part++;
        x->index = 0;
    }
}

/* Algorithms 30 and 31 for one block. How many half-bytes each polynomial of s1 and s2 rejects, and
 * where, shows in the running time. It is independent of the accepted values: half-bytes are
 * uniform, so the rejected ones say nothing about s1 and s2. */
static void consume(struct mldsa_expansion *x, unsigned j)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    struct mldsa_expand_lane *const lane = &x->lane[j];
    if (lane->secret)
        lane->have = unit->reject_eta(lane->r, lane->have, x->block[j], SHAKE256_RATE, x->p->eta);
    else
        lane->have = unit->reject_uniform(lane->r, lane->have, x->block[j], SHAKE128_RATE);
    if (lane->have < MLDSA_N)
        return;
    if (lane->secret) /* every bit: MemorySanitizer follows no carry */
        QPHER_CT_POISON(lane->r, sizeof *lane->r);
    x->lacks[lane->part]--;
    lane->r = NULL;
}

/* ---- The chain of tr --------------------------------------------------------------------------- */

static unsigned chain_blocks(const struct mldsa_expansion *x)
{
    return (unsigned)(x->p->pk_bytes / SHAKE256_RATE) + 1;
}

static int chain_can_go_on(const struct mldsa_expansion *x)
{
    return x->hashed < chain_blocks(x) &&
           (x->known == x->p->pk_bytes || x->known >= (x->hashed + 1) * SHAKE256_RATE);
}

/* Adds the next block of the public key, the last one padded. */
static void add_block(struct mldsa_expansion *x)
{
    const uint8_t *const from = x->pk->encoded + x->hashed * SHAKE256_RATE;
    uint8_t last[SHAKE256_RATE] = {0};
    x->hashed++;
    if (x->hashed < chain_blocks(x)) {
        add_words_le(x->chain, from, SHAKE256_RATE / 8);
        return;
    }
    memcpy(last, from, x->p->pk_bytes % SHAKE256_RATE);
    last[x->p->pk_bytes % SHAKE256_RATE] = KECCAK_SUFFIX_SHAKE;
    last[SHAKE256_RATE - 1] ^= 0x80;
    add_words_le(x->chain, last, SHAKE256_RATE / 8);
}

/* ---- Side by side ------------------------------------------------------------------------------ */

/* Gives every free lane work, the chain first; returns the lane of the chain, or none. */
static unsigned feed(struct mldsa_expansion *x)
{
    unsigned chain_lane = NO_LANE;
    for (unsigned j = 0; j < x->k.n; j++) {
        if (x->lane[j].r != NULL)
            continue;
        if (chain_lane == NO_LANE && chain_can_go_on(x)) {
            chain_lane = j;
            add_block(x);
            keccak_lanes_put(&x->k, j, x->chain);
        } else {
            begin(x, j);
        }
    }
    return chain_lane;
}

/* Permutes all lanes; or the one at work alone, which costs less. */
static void permute(struct mldsa_expansion *x, unsigned chain_lane)
{
    uint64_t alone[25];
    unsigned busy = chain_lane != NO_LANE, last = chain_lane;
    for (unsigned j = 0; j < x->k.n; j++) {
        if (x->lane[j].r != NULL) {
            busy++;
            last = j;
        }
    }
    if (busy > 1 || x->k.lanes == 1) {
        keccak_lanes_permute(&x->k);
        return;
    }
    keccak_lanes_take(alone, &x->k, last);
    keccak_f1600(alone);
    keccak_lanes_put(&x->k, last, alone);
    qpher_wipe(alone, sizeof alone);
}

static void step(struct mldsa_expansion *x)
{
    const unsigned chain_lane = feed(x);
    uint8_t *out[KECCAK_MAX_LANES];
    permute(x, chain_lane);
    if (chain_lane != NO_LANE)
        keccak_lanes_take(x->chain, &x->k, chain_lane);
    for (unsigned j = 0; j < x->k.n; j++)
        out[j] = x->block[j];
    keccak_lanes_get(&x->k, out, SHAKE128_RATE / 8);
    for (unsigned j = 0; j < x->k.n; j++)
        if (x->lane[j].r != NULL)
            consume(x, j);
}

void mldsa_expand_row(struct mldsa_expansion *x, unsigned i)
{
    while (x->lacks[0] > 0 || x->lacks[1 + i] > 0)
        step(x);
}

void mldsa_expand_finish(struct mldsa_expansion *x)
{
    while (chain_can_go_on(x)) {
        add_block(x);
        keccak_f1600(x->chain);
    }
    store_words_le(x->pk->tr, x->chain, MLDSA_TR_BYTES / 8);
    keccak_lanes_wipe(&x->k);
    qpher_wipe(x, sizeof *x);
}
