/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 section 7.1 and 7.2: polynomials and hints to and from bytes. */
#include "mldsa_pack.h"

#include <string.h>

#include "bytes.h"

/* Eight coefficients fill a whole number of bytes at any width; bits <= 20, so no more than 27
 * bits wait in the buffer. */
static void pack_bits(uint8_t *out, const int32_t *c, int32_t top, int32_t sign, unsigned bits)
{
    uint64_t buffer = 0;
    unsigned waiting = 0;
    for (unsigned i = 0; i < MLDSA_N; i++) {
        buffer |= (uint64_t)(uint32_t)(top + sign * c[i]) << waiting;
        for (waiting += bits; waiting >= 8; waiting -= 8) {
            *out++ = (uint8_t)buffer;
            buffer >>= 8;
        }
    }
}

static void unpack_bits(int32_t *c, const uint8_t *in, int32_t top, int32_t sign, unsigned bits)
{
    const uint32_t mask = ((uint32_t)1 << bits) - 1;
    uint64_t buffer = 0;
    unsigned waiting = 0;
    for (unsigned i = 0; i < MLDSA_N; i++) {
        for (; waiting < bits; waiting += 8)
            buffer |= (uint64_t)*in++ << waiting;
        c[i] = top + sign * (int32_t)((uint32_t)buffer & mask);
        buffer >>= bits;
        waiting -= bits;
    }
}

void mldsa_pack(uint8_t *out, const mldsa_poly *a, int32_t top, unsigned bits)
{
    pack_bits(out, a->c, top, -1, bits);
}

void mldsa_unpack(mldsa_poly *a, const uint8_t *in, int32_t top, unsigned bits)
{
    unpack_bits(a->c, in, top, -1, bits);
}

void mldsa_pack_hint(const struct mldsa_params *p, uint8_t *out, const uint8_t h[][MLDSA_N])
{
    unsigned index = 0;
    memset(out, 0, p->omega + p->k);
    for (unsigned i = 0; i < p->k; i++) {
        for (unsigned j = 0; j < MLDSA_N; j += 8) /* bytes 0 or 1: the place of a one is a bit */
            for (uint64_t ones = load64_le(h[i] + j); ones != 0; ones &= ones - 1)
                out[index++] = (uint8_t)(j + (unsigned)__builtin_ctzll(ones) / 8);
        out[p->omega + i] = (uint8_t)index;
    }
}

int mldsa_unpack_hint(const struct mldsa_params *p, uint8_t h[][MLDSA_N], const uint8_t *in)
{
    unsigned index = 0;
    memset(h, 0, (size_t)p->k * MLDSA_N);
    for (unsigned i = 0; i < p->k; i++) {
        const unsigned first = index, end = in[p->omega + i];
        if (end < index || end > p->omega)
            return -1;
        for (; index < end; index++) {
            if (index > first && in[index - 1] >= in[index])
                return -1;
            h[i][in[index]] = 1;
        }
    }
    for (; index < p->omega; index++)
        if (in[index] != 0)
            return -1;
    return 0;
}
