/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 202: up to eight instances of Keccak at once. */
#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "keccak.h"
#include "qpher_native.h"

/* Permutations that run short of registers leave words of the states in their stack frames, below
 * that of this function's caller. Never inlined, so that its own frame lies in their place. */
static __attribute__((noinline)) void wipe_frame_of_x8(void)
{
    uint8_t frame[2816];
    qpher_wipe(frame, sizeof frame);
}

void keccak_lanes_wipe(keccak_lanes *k)
{
    qpher_wipe(k->s, 25 * sizeof k->s[0] * ((k->n + k->lanes - 1) / k->lanes * k->lanes));
    wipe_frame_of_x8();
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

/* ---- Calls of their own that share permutations ------------------------------------------ */

struct scratch {
    keccak_lanes k;
    uint64_t alone[25];
    uint8_t blocks[KECCAK_MAX_LANES][SHAKE128_RATE], unused[SHAKE128_RATE];
};

/* Starts a group with the padded block of each call. */
static void start(struct scratch *s, const struct keccak_call *calls, unsigned n)
{
    const uint8_t *from[KECCAK_MAX_LANES] = {0};
    keccak_lanes *k = &s->k;
    k->n = n;
    k->lanes = layout(n);
    k->rate = 0;
    memset(k->s, 0, 25 * sizeof k->s[0] * k->lanes);
    for (unsigned j = 0; j < n; j++)
        k->rate = calls[j].rate > k->rate ? calls[j].rate : k->rate;
    for (unsigned j = 0; j < n; j++) {
        const struct keccak_call *c = &calls[j];
        uint8_t *block = s->blocks[j];
        from[j] = block;
        if (c->state != NULL) {
            memcpy(block, c->in, c->rate);
            memset(block + c->rate, 0, sizeof s->blocks[j] - c->rate);
            for (unsigned i = 0; i < 25; i++)
                k->s[k->lanes * i + j] = c->state[i];
        } else { /* of constant length: calls of memcpy would cost more than the copies */
            memcpy(block, c->in, KECCAK_CALL_BYTES);
            memset(block + KECCAK_CALL_BYTES, 0, sizeof s->blocks[j] - KECCAK_CALL_BYTES);
            block[c->len] = c->suffix;
            block[c->rate - 1] ^= 0x80;
        }
    }
    add_lanes(k, from, 0, k->rate / 8);
}

/* The words of one instance. */
static void take_state(uint64_t state[25], const keccak_lanes *k, unsigned j)
{
    for (unsigned i = 0; i < 25; i++)
        state[i] = k->s[k->lanes * i + j];
}

/* The next block for every call that wants one; those of a smaller rate than the group's get
 * theirs through the place of their input. */
static void put_blocks(struct scratch *s, const struct keccak_call *calls, unsigned block)
{
    uint8_t *to[KECCAK_MAX_LANES];
    for (unsigned j = 0; j < KECCAK_MAX_LANES; j++) {
        to[j] = s->unused;
        if (j < s->k.n && block < calls[j].blocks)
            to[j] = calls[j].rate == s->k.rate ? calls[j].out + block * s->k.rate : s->blocks[j];
    }
    get_lanes(to, &s->k, s->k.rate / 8);
    for (unsigned j = 0; j < s->k.n; j++)
        if (to[j] == s->blocks[j])
            memcpy(calls[j].out + block * calls[j].rate, to[j], calls[j].rate);
}

/* How many calls want more than so many blocks, and the last of them. */
static unsigned waiting(const struct keccak_call *calls, unsigned n, unsigned blocks,
                        unsigned *last)
{
    unsigned count = 0;
    for (unsigned j = 0; j < n; j++) {
        if (calls[j].blocks > blocks) {
            *last = j;
            count++;
        }
    }
    return count;
}

/* As many calls as one permutation takes; the one that needs the most blocks goes on alone. */
static void run_group(struct scratch *s, const struct keccak_call *calls, unsigned n)
{
    unsigned block = 0, last = 0, left;
    start(s, calls, n);
    do {
        permute(&s->k);
        put_blocks(s, calls, block);
        for (unsigned j = 0; block == 0 && j < n; j++)
            if (calls[j].state != NULL)
                take_state(calls[j].state, &s->k, j);
        block++;
        left = waiting(calls, n, block, &last);
    } while (left > 1);
    if (left == 1) {
        const struct keccak_call *c = &calls[last];
        take_state(s->alone, &s->k, last);
        for (; block < c->blocks; block++) {
            keccak_f1600(s->alone);
            store_words_le(c->out + block * c->rate, s->alone, c->rate / 8u);
        }
    }
}

void keccak_calls(const struct keccak_call *calls, unsigned n)
{
    const unsigned lanes = keccak_preferred_lanes();
    struct scratch s;
    for (unsigned done = 0; done < n; done += lanes)
        run_group(&s, calls + done, n - done < lanes ? n - done : lanes);
    qpher_wipe(&s, sizeof s);
    wipe_frame_of_x8();
}
