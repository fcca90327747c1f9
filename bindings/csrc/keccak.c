/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 202: the portable permutation, the sponge, SHA3 and SHAKE, and many instances at once. */
#include "keccak.h"

#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "qpher_native.h"

/* ---- The portable unit --------------------------------------------------------------- */

typedef uint64_t word;
#define XOR(a, b) ((a) ^ (b))
#define XOR5(a, b, c, d, e) ((a) ^ (b) ^ (c) ^ (d) ^ (e))
#define ROL(a, n) (((a) << (n)) | ((a) >> (64 - (n))))
#define CHI(a, b, c) ((a) ^ (~(b) & (c)))
#define CONSTANT(x) (x)
#include "keccak_round.h"

static void f1600_portable(uint64_t s[25])
{
    uint64_t a[25];
    memcpy(a, s, sizeof a);
    keccak_rounds(a);
    memcpy(s, a, sizeof a);
}

/* Interleaved states, one after the other: for callers that hold such a state; keccak_lanes
 * uses the plain layout on this path instead. */
static void f1600_strided(uint64_t *s, unsigned lanes)
{
    for (unsigned j = 0; j < lanes; j++) {
        uint64_t a[25];
        for (unsigned i = 0; i < 25; i++)
            a[i] = s[lanes * i + j];
        keccak_rounds(a);
        for (unsigned i = 0; i < 25; i++)
            s[lanes * i + j] = a[i];
    }
}

static void f1600_x4_portable(uint64_t s[100])
{
    f1600_strided(s, 4);
}

static void f1600_x8_portable(uint64_t s[200])
{
    f1600_strided(s, 8);
}

const struct keccak_unit keccak_portable = {
    .preferred_lanes = 1,
    .f1600 = f1600_portable,
    .f1600_x4 = f1600_x4_portable,
    .f1600_x8 = f1600_x8_portable,
};

const struct keccak_unit *keccak_unit_for(int path)
{
    (void)path;
    return &keccak_portable;
}

/* ---- Dispatch ------------------------------------------------------------------------- */

void keccak_f1600(uint64_t s[25])
{
    qpher_dispatch.keccak->f1600(s);
}

void keccak_f1600_x4(uint64_t s[100])
{
    qpher_dispatch.keccak->f1600_x4(s);
}

void keccak_f1600_x8(uint64_t s[200])
{
    qpher_dispatch.keccak->f1600_x8(s);
}

unsigned keccak_preferred_lanes(void)
{
    return qpher_dispatch.keccak->preferred_lanes;
}

/* ---- The sponge (FIPS 202 section 4) ---------------------------------------------------- */

static void sponge_init(keccak_sponge *k, uint32_t rate)
{
    memset(k->s, 0, sizeof k->s);
    k->pos = 0;
    k->rate = rate;
}

/* Adds one byte to the state, at any byte order of the host. */
static void add_byte(uint64_t s[25], uint32_t pos, uint8_t x)
{
    s[pos / 8] ^= (uint64_t)x << 8 * (pos % 8);
}

static void add_block(uint64_t s[25], const uint8_t *in, uint32_t rate)
{
    for (uint32_t i = 0; i < rate / 8; i++)
        s[i] ^= load64_le(in + 8 * i);
}

void shake128_init(keccak_sponge *k)
{
    sponge_init(k, SHAKE128_RATE);
}

void shake256_init(keccak_sponge *k)
{
    sponge_init(k, SHAKE256_RATE);
}

void shake_absorb(keccak_sponge *k, const uint8_t *in, size_t len)
{
    while (len > 0) {
        if (k->pos == 0 && len >= k->rate) {
            add_block(k->s, in, k->rate);
            keccak_f1600(k->s);
            in += k->rate;
            len -= k->rate;
            continue;
        }
        if (k->pos % 8 == 0 && len >= 8) {
            k->s[k->pos / 8] ^= load64_le(in);
            k->pos += 8;
            in += 8;
            len -= 8;
        } else {
            add_byte(k->s, k->pos, *in);
            k->pos++;
            in++;
            len--;
        }
        if (k->pos == k->rate) {
            keccak_f1600(k->s);
            k->pos = 0;
        }
    }
}

/* Suffix and pad10*1; the permutation is left to the first squeeze. */
static void finalize(keccak_sponge *k, uint8_t suffix)
{
    add_byte(k->s, k->pos, suffix);
    add_byte(k->s, k->rate - 1, 0x80);
    k->pos = k->rate;
}

void shake_finalize(keccak_sponge *k)
{
    finalize(k, KECCAK_SUFFIX_SHAKE);
}

void shake_squeeze(keccak_sponge *k, uint8_t *out, size_t len)
{
    while (len > 0) {
        if (k->pos == k->rate) {
            keccak_f1600(k->s);
            k->pos = 0;
        }
        if (k->pos % 8 == 0 && len >= 8) {
            store64_le(out, k->s[k->pos / 8]);
            k->pos += 8;
            out += 8;
            len -= 8;
        } else {
            *out = (uint8_t)(k->s[k->pos / 8] >> 8 * (k->pos % 8));
            k->pos++;
            out++;
            len--;
        }
    }
}

static void hash(uint8_t *out, size_t out_len, uint32_t rate, uint8_t suffix, const uint8_t *in,
                 size_t in_len)
{
    keccak_sponge k;
    sponge_init(&k, rate);
    shake_absorb(&k, in, in_len);
    finalize(&k, suffix);
    shake_squeeze(&k, out, out_len);
    qpher_wipe(&k, sizeof k);
}

void sha3_256(uint8_t out[32], const uint8_t *in, size_t len)
{
    hash(out, 32, SHA3_256_RATE, KECCAK_SUFFIX_SHA3, in, len);
}

void sha3_512(uint8_t out[64], const uint8_t *in, size_t len)
{
    hash(out, 64, SHA3_512_RATE, KECCAK_SUFFIX_SHA3, in, len);
}

void shake128(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len)
{
    hash(out, out_len, SHAKE128_RATE, KECCAK_SUFFIX_SHAKE, in, in_len);
}

void shake256(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len)
{
    hash(out, out_len, SHAKE256_RATE, KECCAK_SUFFIX_SHAKE, in, in_len);
}

/* ---- Many instances -------------------------------------------------------------------- */

/* The layout that costs least for n instances: plain states where a permutation takes one, or
 * for a single instance; else as few interleaved lanes as hold them. */
static uint32_t layout(unsigned n)
{
    const unsigned preferred = keccak_preferred_lanes();
    if (n == 1 || preferred == 1)
        return 1;
    return (n <= 4 || preferred == 4) ? 4 : 8;
}

/* Word i of instance j, in either layout; with four lanes, instances 4 to 7 follow the first
 * four as a second interleaved group. */
static uint64_t *lane_word(keccak_lanes *k, unsigned j, uint32_t i)
{
    return &k->s[25 * k->lanes * (j / k->lanes) + k->lanes * i + j % k->lanes];
}

static void permute(keccak_lanes *k)
{
    for (unsigned j = 0; j < k->n; j += k->lanes) {
        uint64_t *s = &k->s[25 * j];
        if (k->lanes == 8)
            keccak_f1600_x8(s);
        else if (k->lanes == 4)
            keccak_f1600_x4(s);
        else
            keccak_f1600(s);
    }
}

void keccak_lanes_absorb_suffix(keccak_lanes *k, unsigned n, unsigned rate, uint8_t suffix,
                                const uint8_t *const in[], size_t inlen)
{
    size_t done = 0;
    k->rate = rate;
    k->n = n;
    k->lanes = layout(n);
    memset(k->s, 0, sizeof k->s);
    for (; inlen - done >= rate; done += rate) {
        for (unsigned j = 0; j < n; j++)
            for (uint32_t i = 0; i < rate / 8; i++)
                *lane_word(k, j, i) ^= load64_le(in[j] + done + 8 * i);
        permute(k);
    }
    for (unsigned j = 0; j < n; j++) {
        uint8_t last[SHAKE128_RATE] = {0};
        memcpy(last, in[j] + done, inlen - done);
        last[inlen - done] = suffix;
        last[rate - 1] |= 0x80;
        for (uint32_t i = 0; i < rate / 8; i++)
            *lane_word(k, j, i) ^= load64_le(last + 8 * i);
        qpher_wipe(last, sizeof last);
    }
}

void keccak_lanes_absorb(keccak_lanes *k, unsigned n, unsigned rate, const uint8_t *const in[],
                         size_t inlen)
{
    keccak_lanes_absorb_suffix(k, n, rate, KECCAK_SUFFIX_SHAKE, in, inlen);
}

void keccak_lanes_squeeze_blocks(keccak_lanes *k, uint8_t *const out[], size_t nblocks)
{
    for (size_t b = 0; b < nblocks; b++) {
        permute(k);
        for (unsigned j = 0; j < k->n; j++)
            for (uint32_t i = 0; i < k->rate / 8; i++)
                store64_le(out[j] + b * k->rate + 8 * i, *lane_word(k, j, i));
    }
}

/* ---- Public, with checks ------------------------------------------------------------------ */

static int checked(const uint8_t *out, const uint8_t *in, size_t n)
{
    return out == NULL || (in == NULL && n > 0) ? QPHER_ERR_ARGUMENT : QPHER_OK;
}

int qpher_sha3_256(uint8_t *out, const uint8_t *in, size_t n)
{
    const int err = checked(out, in, n);
    if (err == QPHER_OK)
        sha3_256(out, in, n);
    return err;
}

int qpher_sha3_512(uint8_t *out, const uint8_t *in, size_t n)
{
    const int err = checked(out, in, n);
    if (err == QPHER_OK)
        sha3_512(out, in, n);
    return err;
}

int qpher_shake128(uint8_t *out, size_t out_len, const uint8_t *in, size_t n)
{
    const int err = checked(out, in, n);
    if (err == QPHER_OK)
        shake128(out, out_len, in, n);
    return err;
}

int qpher_shake256(uint8_t *out, size_t out_len, const uint8_t *in, size_t n)
{
    const int err = checked(out, in, n);
    if (err == QPHER_OK)
        shake256(out, out_len, in, n);
    return err;
}
