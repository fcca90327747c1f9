/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 202: up to eight instances of Keccak at once. */
#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "keccak.h"
#include "qpher_native.h"

void keccak_lanes_wipe(keccak_lanes *k)
{
    qpher_wipe(k->s, 25 * sizeof k->s[0] * ((k->n + k->lanes - 1) / k->lanes * k->lanes));
    keccak_wipe_frames();
}

/* The layout that costs least for n instances: plain states on a CPU that permutes one at a
 * time and for a single instance; else as few interleaved lanes as hold them. */
static uint32_t layout(unsigned n)
{
    const unsigned preferred = keccak_preferred_lanes();
    if (n == 1 || preferred == 1)
        return 1;
    return n <= 4 || preferred == 4 ? 4 : 8;
}

/* Instances come in groups of k->lanes; group g starts at k->s[25 * g]. */

static void permute(keccak_lanes *k)
{
    const struct keccak_unit *unit = qpher_dispatch.keccak;
    for (unsigned g = 0; g < k->n; g += k->lanes) {
        if (k->lanes == 8)
            unit->f1600_x8(k->s + 25 * g);
        else if (k->lanes == 4)
            unit->f1600_x4(k->s + 25 * g);
        else
            unit->f1600(k->s + 25 * g);
    }
}

/* Adds words from in[j] + offset to each instance; lanes past n get those of instance 0. */
static void add_lanes(keccak_lanes *k, const uint8_t *const in[], size_t offset, unsigned words)
{
    const struct keccak_unit *unit = qpher_dispatch.keccak;
    const uint8_t *from[KECCAK_MAX_LANES];
    for (unsigned j = 0; j < KECCAK_MAX_LANES; j++)
        from[j] = in[j < k->n ? j : 0] + offset;
    for (unsigned g = 0; g < k->n; g += k->lanes) {
        if (k->lanes == 8)
            unit->add_x8(k->s + 25 * g, from + g, words);
        else if (k->lanes == 4)
            unit->add_x4(k->s + 25 * g, from + g, words);
        else
            add_words_le(k->s + 25 * g, from[g], words);
    }
}

/* Words of each instance to out[j]. */
static void get_lanes(uint8_t *const out[], const keccak_lanes *k, unsigned words)
{
    const struct keccak_unit *unit = qpher_dispatch.keccak;
    for (unsigned g = 0; g < k->n; g += k->lanes) {
        if (k->lanes == 8)
            unit->get_x8(out + g, k->s + 25 * g, words);
        else if (k->lanes == 4)
            unit->get_x4(out + g, k->s + 25 * g, words);
        else
            store_words_le(out[g], k->s + 25 * g, words);
    }
}

void keccak_lanes_absorb_suffix(keccak_lanes *k, unsigned n, unsigned rate, uint8_t suffix,
                                const uint8_t *const in[], size_t inlen)
{
    /* Room for the last words of each input and the suffix, zeroed word by word as used. */
    uint8_t last[KECCAK_MAX_LANES][SHAKE128_RATE];
    const uint8_t *tails[KECCAK_MAX_LANES] = {0};
    size_t done = 0, rest;
    unsigned words;

    k->rate = rate;
    k->n = n;
    k->lanes = layout(n);
    memset(k->s, 0, 25 * sizeof k->s[0] * ((n + k->lanes - 1) / k->lanes * k->lanes));
    for (; inlen - done >= rate; done += rate) {
        add_lanes(k, in, done, rate / 8);
        permute(k);
    }

    rest = inlen - done;
    words = (unsigned)(rest / 8 + 1);
    for (unsigned j = 0; j < n; j++) {
        memset(last[j] + 8 * (words - 1), 0, 8);
        memcpy(last[j], in[j] + done, rest);
        last[j][rest] = suffix;
        tails[j] = last[j];
    }
    add_lanes(k, tails, 0, words);
    for (unsigned j = 0; j < n; j++) {
        /* The last bit of pad10*1; in group order it is the same word in every layout. */
        const unsigned g = j / k->lanes * k->lanes;
        k->s[25 * g + k->lanes * (rate / 8 - 1) + j % k->lanes] ^= (uint64_t)1 << 63;
        qpher_wipe(last[j], 8 * words);
    }
}

void keccak_lanes_absorb(keccak_lanes *k, unsigned n, unsigned rate, const uint8_t *const in[],
                         size_t inlen)
{
    keccak_lanes_absorb_suffix(k, n, rate, KECCAK_SUFFIX_SHAKE, in, inlen);
}

void keccak_lanes_squeeze_blocks(keccak_lanes *k, uint8_t *const out[], size_t nblocks)
{
    const unsigned words = k->rate / 8;
    uint8_t unused[SHAKE128_RATE]; /* what lanes past n squeeze; they hold copies of instance 0 */
    uint8_t *to[KECCAK_MAX_LANES];

    for (size_t b = 0; b < nblocks; b++) {
        permute(k);
        for (unsigned j = 0; j < KECCAK_MAX_LANES; j++)
            to[j] = j < k->n ? out[j] + b * k->rate : unused;
        get_lanes(to, k, words);
    }
    if (k->n % k->lanes != 0)
        qpher_wipe(unused, sizeof unused);
}

/* ---- Instances at points of their own -------------------------------------------------------- */

void keccak_lanes_open(keccak_lanes *k)
{
    k->n = k->lanes = keccak_preferred_lanes();
    k->rate = 0;
    memset(k->s, 0, 25 * sizeof k->s[0] * k->lanes);
}

void keccak_lanes_put(keccak_lanes *k, unsigned j, const uint64_t state[25])
{
    for (unsigned i = 0; i < 25; i++)
        k->s[k->lanes * i + j] = state[i];
}

void keccak_lanes_take(uint64_t state[25], const keccak_lanes *k, unsigned j)
{
    for (unsigned i = 0; i < 25; i++)
        state[i] = k->s[k->lanes * i + j];
}

void keccak_lanes_permute(keccak_lanes *k)
{
    permute(k);
}

void keccak_lanes_get(const keccak_lanes *k, uint8_t *const out[], unsigned words)
{
    get_lanes(out, k, words);
}

/* ---- Calls of their own that share permutations ------------------------------------------ */

struct run {
    keccak_lanes k;
    const struct keccak_call *calls[KECCAK_MAX_LANES]; /* of each lane, null where it is free */
    unsigned done[KECCAK_MAX_LANES];                   /* permutations of each call so far */
    uint8_t unused[SHAKE128_RATE];
};

/* The next block of a call with a state. */
static void absorb_block(struct run *r, unsigned lane)
{
    const struct keccak_call *c = r->calls[lane];
    const uint8_t *in = c->in + r->done[lane] * c->rate, *const end = in + c->rate;
    for (uint64_t *s = r->k.s + lane; in < end; s += r->k.lanes, in += 8)
        *s ^= load64_le(in);
}

/* The padded input of a call without one. */
static void absorb_input(struct run *r, unsigned lane)
{
    const struct keccak_call *c = r->calls[lane];
    const uint8_t *in = c->in, *const end = in + c->len / 8u * 8u;
    uint64_t *s = r->k.s + lane;
    for (; in < end; s += r->k.lanes, in += 8)
        *s = load64_le(in);
    *s = (uint64_t)c->suffix << 8 * (c->len % 8);
    if (c->len % 8 != 0)
        *s |= load64_le(in);
    r->k.s[r->k.lanes * (c->rate / 8u - 1) + lane] ^= (uint64_t)1 << 63;
}

static void begin(struct run *r, unsigned lane, const struct keccak_call *c)
{
    const unsigned lanes = r->k.lanes;
    r->calls[lane] = c;
    r->done[lane] = 0;
    if (c->state != NULL) {
        keccak_lanes_put(&r->k, lane, c->state);
        absorb_block(r, lane);
        return;
    }
    for (unsigned i = 0; i < 25; i++)
        r->k.s[lanes * i + lane] = 0;
    absorb_input(r, lane);
}

/* Moves the lanes in use next to one another, into fewer. */
static void narrow(struct run *r, unsigned lanes)
{
    const unsigned before = r->k.lanes;
    unsigned to = 0;
    keccak_lanes old = r->k;
    for (unsigned j = 0; j < before; j++) {
        if (r->calls[j] == NULL)
            continue;
        for (unsigned i = 0; i < 25; i++)
            r->k.s[lanes * i + to] = old.s[before * i + j];
        r->done[to] = r->done[j];
        r->calls[to++] = r->calls[j];
    }
    for (; to < KECCAK_MAX_LANES; to++)
        r->calls[to] = NULL;
    r->k.lanes = r->k.n = lanes;
    qpher_wipe(old.s, sizeof old.s);
}

/* Gives free lanes the calls from next on; afterwards active lanes are in use. */
static unsigned refill(struct run *r, const struct keccak_call *next, unsigned n, unsigned *active)
{
    unsigned taken = 0;
    *active = 0;
    for (unsigned j = 0; j < r->k.lanes; j++) {
        if (r->calls[j] == NULL && taken < n)
            begin(r, j, &next[taken++]);
        *active += r->calls[j] != NULL;
    }
    return taken;
}

/* After a permutation: every call in a lane gets its block, or absorbs its next one. */
static void settle(struct run *r)
{
    uint8_t *to[KECCAK_MAX_LANES];
    for (unsigned j = 0; j < KECCAK_MAX_LANES; j++) {
        const struct keccak_call *c = j < r->k.lanes ? r->calls[j] : NULL;
        to[j] = c != NULL && c->state == NULL ? c->out + r->done[j] * c->rate : r->unused;
    }
    get_lanes(to, &r->k, SHAKE128_RATE / 8);
    for (unsigned j = 0; j < r->k.lanes; j++) {
        const struct keccak_call *c = r->calls[j];
        if (c == NULL)
            continue;
        if (++r->done[j] < c->blocks) {
            if (c->state != NULL)
                absorb_block(r, j);
            continue;
        }
        if (c->state != NULL)
            keccak_lanes_take(c->state, &r->k, j);
        r->calls[j] = NULL;
    }
}

void keccak_calls(const struct keccak_call *calls, unsigned n)
{
    const unsigned preferred = keccak_preferred_lanes();
    struct run r;
    unsigned next = 0, active;
    r.k.lanes = r.k.n = layout(n < preferred ? n : preferred);
    for (unsigned j = 0; j < KECCAK_MAX_LANES; j++)
        r.calls[j] = NULL;
    while (next += refill(&r, calls + next, n - next, &active), active > 0) {
        if (next == n && layout(active) < r.k.lanes)
            narrow(&r, layout(active));
        permute(&r.k);
        settle(&r);
    }
    qpher_wipe(&r, sizeof r);
    keccak_wipe_frames();
}
