/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 202: Keccak-f[1600], SHA3 and SHAKE, on one, four or eight independent states.
 *
 * Who wipes: a keccak_sponge or keccak_lanes belongs to its caller. Whoever absorbs a secret (or
 * squeezes one) wipes the object with keccak_sponge_wipe or keccak_lanes_wipe on every path out;
 * they also wipe the stack frames that permutations leave behind. Objects that only ever see
 * public data need no wiping. The one-call functions wipe their own. */
#ifndef QPHER_KECCAK_H
#define QPHER_KECCAK_H

#include <stddef.h>
#include <stdint.h>

enum { SHAKE128_RATE = 168, SHAKE256_RATE = 136, SHA3_256_RATE = 136, SHA3_512_RATE = 72 };
enum { KECCAK_MAX_LANES = 8 };

/* The suffix that separates the functions (FIPS 202 section 6), with the first bit of padding. */
enum { KECCAK_SUFFIX_SHA3 = 0x06, KECCAK_SUFFIX_SHAKE = 0x1f };

/* ---- Permutations: word i of instance j is s[i], s[4*i + j], s[8*i + j] ------------- */
/* x4 and x8 states are aligned to 64 bytes. */

void keccak_f1600(uint64_t s[25]);
void keccak_f1600_x4(uint64_t s[100]);
void keccak_f1600_x8(uint64_t s[200]);

/* How many states a permutation takes at once at the best price: 1, 4 or 8 on this CPU. */
unsigned keccak_preferred_lanes(void);

/* ---- One instance, incremental ---------------------------------------------------- */

/* While absorbing: pos < rate bytes of the block are in. While squeezing: pos <= rate bytes of
 * the block are out. */
typedef struct {
    uint64_t s[25];
    uint32_t pos, rate;
} keccak_sponge;

void shake128_init(keccak_sponge *k);
void shake256_init(keccak_sponge *k);
void shake_absorb(keccak_sponge *k, const uint8_t *in, size_t len); /* any number of times */
void shake_finalize(keccak_sponge *k);                              /* once */
void shake_squeeze(keccak_sponge *k, uint8_t *out, size_t len);     /* any number of times */

void keccak_sponge_wipe(keccak_sponge *k);

/* ---- One call --------------------------------------------------------------------- */
/* out may overlap in: all of in is absorbed before out is written. */

void sha3_256(uint8_t out[32], const uint8_t *in, size_t len);
void sha3_512(uint8_t out[64], const uint8_t *in, size_t len);
void shake128(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len);
void shake256(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len);

/* ---- Up to eight instances at once ------------------------------------------------- */

/* n inputs of one length, absorbed in one call, then whole blocks squeezed from all of them.
 * lanes tells the layout: 1 (n states one after the other), 4 or 8 (interleaved; lanes past n
 * hold nothing of use). */
typedef struct {
    _Alignas(64) uint64_t s[25 * KECCAK_MAX_LANES];
    uint32_t rate, lanes, n;
} keccak_lanes;

/* Absorbs in[0..n), 1 <= n <= 8, inlen bytes each, and pads for SHAKE. */
void keccak_lanes_absorb(keccak_lanes *k, unsigned n, unsigned rate, const uint8_t *const in[],
                         size_t inlen);

/* The same with another suffix: KECCAK_SUFFIX_SHA3 makes the first squeezed block begin with
 * the SHA3 digest of that rate. */
void keccak_lanes_absorb_suffix(keccak_lanes *k, unsigned n, unsigned rate, uint8_t suffix,
                                const uint8_t *const in[], size_t inlen);

/* out[i] gets the next nblocks * rate bytes of instance i, for i < n. */
void keccak_lanes_squeeze_blocks(keccak_lanes *k, uint8_t *const out[], size_t nblocks);

void keccak_lanes_wipe(keccak_lanes *k);

/* What permutations may have left on the stack, below the frame of the caller. */
void keccak_wipe_frames(void);

/* Or: as many instances as a permutation takes at the best price, each at a point of its own.
 * Word i of instance j is s[lanes*i + j]; put and take copy a whole state, get gives the first words
 * of every instance. */
void keccak_lanes_open(keccak_lanes *k);
void keccak_lanes_put(keccak_lanes *k, unsigned j, const uint64_t state[25]);
void keccak_lanes_take(uint64_t state[25], const keccak_lanes *k, unsigned j);
void keccak_lanes_permute(keccak_lanes *k);
void keccak_lanes_get(const keccak_lanes *k, uint8_t *const out[], unsigned words);

/* ---- Independent calls that share permutations --------------------------------------- */

/* Without a state: len < rate bytes of input, in whole words with zeros after them, are padded after
 * the suffix, into a fresh state, and blocks * rate bytes go to out, which has room for
 * SHAKE128_RATE - rate bytes more; they are overwritten. With a state: it absorbs blocks * rate
 * bytes of input; there is no output. */
struct keccak_call {
    const uint8_t *in;
    uint8_t *out;
    uint64_t *state;
    uint8_t len, rate, suffix, blocks;
};

/* Runs n calls, as many at once as this CPU permutes; a lane that comes free takes the next call.
 * So it takes fewest permutations if those with most blocks come first. */
void keccak_calls(const struct keccak_call *calls, unsigned n);

/* ---- Units: what a code path provides  ---- */

/* add: word i of instance j ^= word i of in[j], for i < words (one block or less).
 * get: word i of out[j] = word i of instance j, for i < words. Words are little-endian. */
struct keccak_unit {
    unsigned preferred_lanes;
    int spills; /* permutations run short of registers, and leave words in their stack frames */
    void (*f1600)(uint64_t s[25]);
    void (*f1600_x4)(uint64_t s[100]);
    void (*f1600_x8)(uint64_t s[200]);
    void (*add_x4)(uint64_t s[100], const uint8_t *const in[4], unsigned words);
    void (*add_x8)(uint64_t s[200], const uint8_t *const in[8], unsigned words);
    void (*get_x4)(uint8_t *const out[4], const uint64_t s[100], unsigned words);
    void (*get_x8)(uint8_t *const out[8], const uint64_t s[200], unsigned words);
};

extern const struct keccak_unit keccak_portable;
void keccak_f1600_strided(uint64_t *s, unsigned lanes);
#if defined(__x86_64__)
extern const struct keccak_unit keccak_avx2, keccak_avx512;

/* Parts that units share. */
void keccak_f1600_bmi(uint64_t s[25]);
void keccak_f1600_avx512(uint64_t s[25]);
void keccak_f1600_x4_avx512vl(uint64_t s[100]);
void keccak_add_x4_avx2(uint64_t s[100], const uint8_t *const in[4], unsigned words);
void keccak_get_x4_avx2(uint8_t *const out[4], const uint64_t s[100], unsigned words);
#endif

/* The unit for a path of enum qpher_cpu_path. */
const struct keccak_unit *keccak_unit_for(int path);

#endif
