/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian loads and stores that neither alignment nor byte order of the host can break. */
#ifndef QPHER_BYTES_H
#define QPHER_BYTES_H

#include <stdint.h>
#include <string.h>

/* Compilers turn each of these into a single move where the host is little-endian. */

static inline uint16_t load16_le(const uint8_t p[2])
{
    return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

static inline uint32_t load24_le(const uint8_t p[3])
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static inline uint32_t load32_le(const uint8_t p[4])
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Vectorizers take sums of bytes apart, so words of 64 bits are moved as such. */
static inline uint64_t little_endian64(uint64_t x)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(x);
#else
    return x;
#endif
}

static inline uint64_t load64_le(const uint8_t p[8])
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return little_endian64(x);
}

static inline void store16_le(uint8_t p[2], uint16_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

static inline void store32_le(uint8_t p[4], uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)(x >> 16);
    p[3] = (uint8_t)(x >> 24);
}

static inline void store64_le(uint8_t p[8], uint64_t x)
{
    x = little_endian64(x);
    memcpy(p, &x, sizeof x);
}

/* s[i] ^= word i of in, and word i of out = s[i]. */
static inline void add_words_le(uint64_t *s, const uint8_t *in, unsigned words)
{
    for (unsigned i = 0; i < words; i++)
        s[i] ^= load64_le(in + 8 * i);
}

static inline void store_words_le(uint8_t *out, const uint64_t *s, unsigned words)
{
    for (unsigned i = 0; i < words; i++)
        store64_le(out + 8 * i, s[i]);
}

#endif
