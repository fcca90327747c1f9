/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 202: the portable permutation, the sponge, SHA3 and SHAKE. */
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
void keccak_f1600_strided(uint64_t *s, unsigned lanes)
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
    keccak_f1600_strided(s, 4);
}

static void f1600_x8_portable(uint64_t s[200])
{
    keccak_f1600_strided(s, 8);
}

static void add_strided(uint64_t *s, const uint8_t *const in[], unsigned words, unsigned lanes)
{
    for (unsigned j = 0; j < lanes; j++)
        for (unsigned i = 0; i < words; i++)
            s[lanes * i + j] ^= load64_le(in[j] + 8 * i);
}

static void get_strided(uint8_t *const out[], const uint64_t *s, unsigned words, unsigned lanes)
{
    for (unsigned j = 0; j < lanes; j++)
        for (unsigned i = 0; i < words; i++)
            store64_le(out[j] + 8 * i, s[lanes * i + j]);
}

static void add_x4_portable(uint64_t s[100], const uint8_t *const in[4], unsigned words)
{
    add_strided(s, in, words, 4);
}

static void add_x8_portable(uint64_t s[200], const uint8_t *const in[8], unsigned words)
{
    add_strided(s, in, words, 8);
}

static void get_x4_portable(uint8_t *const out[4], const uint64_t s[100], unsigned words)
{
    get_strided(out, s, words, 4);
}

static void get_x8_portable(uint8_t *const out[8], const uint64_t s[200], unsigned words)
{
    get_strided(out, s, words, 8);
}

const struct keccak_unit keccak_portable = {
    .preferred_lanes = 1,
    .spills = 1,
    .f1600 = f1600_portable,
    .f1600_x4 = f1600_x4_portable,
    .f1600_x8 = f1600_x8_portable,
    .add_x4 = add_x4_portable,
    .add_x8 = add_x8_portable,
    .get_x4 = get_x4_portable,
    .get_x8 = get_x8_portable,
};

const struct keccak_unit *keccak_unit_for(int path)
{
#if defined(__x86_64__)
    if (path == QPHER_CPU_AVX512)
        return &keccak_avx512;
    if (path == QPHER_CPU_AVX2)
        return &keccak_avx2;
#else
    (void)path;
#endif
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
            add_words_le(k->s, in, k->rate / 8);
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

/* Never inlined, so that its own frame lies where those of the permutations were: below that of its
 * caller. The largest is that of AVX2, 1,600 bytes. */
static __attribute__((noinline)) void wipe_frame(void)
{
    uint8_t frame[1984];
    qpher_wipe(frame, sizeof frame);
}

void keccak_wipe_frames(void)
{
    if (qpher_dispatch.keccak->spills)
        wipe_frame();
}

void keccak_sponge_wipe(keccak_sponge *k)
{
    qpher_wipe(k, sizeof *k);
    keccak_wipe_frames();
}

static void hash(uint8_t *out, size_t out_len, uint32_t rate, uint8_t suffix, const uint8_t *in,
                 size_t in_len)
{
    keccak_sponge k;
    sponge_init(&k, rate);
    shake_absorb(&k, in, in_len);
    finalize(&k, suffix);
    shake_squeeze(&k, out, out_len);
    keccak_sponge_wipe(&k);
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
