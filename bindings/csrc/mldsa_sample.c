/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 section 7.3: masks and challenges, with as many Keccak lanes as the CPU has. */
#include "mldsa_sample.h"

#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "ct.h"
#include "keccak.h"

enum {
    LANES = KECCAK_MAX_LANES,
    MASK_BLOCKS = 5, /* 680 bytes for the 640 or 576 of one polynomial */
};

/* ---- Algorithm 34 -------------------------------------------------------------------------- */

void mldsa_expand_masks(const struct mldsa_params *p, const struct mldsa_mask *masks, unsigned n)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    const unsigned total = n * p->l;
    uint8_t seeds[LANES][66], blocks[LANES][MASK_BLOCKS * SHAKE256_RATE];
    const uint8_t *in[LANES] = {0};
    uint8_t *out[LANES];
    keccak_lanes xof;

    for (unsigned done = 0; done < total; done += LANES) {
        const unsigned lanes = total - done < LANES ? total - done : LANES;
        for (unsigned j = 0; j < lanes; j++) {
            const struct mldsa_mask *mask = &masks[(done + j) / p->l];
            memcpy(seeds[j], mask->rho_second, 64);
            store16_le(seeds[j] + 64, (uint16_t)(mask->kappa + (done + j) % p->l));
            in[j] = seeds[j];
            out[j] = blocks[j];
        }
        keccak_lanes_absorb(&xof, lanes, SHAKE256_RATE, in, 66);
        keccak_lanes_squeeze_blocks(&xof, out, MASK_BLOCKS);
        for (unsigned j = 0; j < lanes; j++) {
            mldsa_poly *const y = &masks[(done + j) / p->l].y[(done + j) % p->l];
            unit->unpack_z(y, blocks[j], p->z_bits);
            QPHER_CT_POISON(y, sizeof *y); /* every bit: MemorySanitizer follows no carry */
        }
    }
    qpher_wipe(seeds, sizeof seeds);
    qpher_wipe(blocks, sizeof blocks);
    keccak_lanes_wipe(&xof);
}

/* ---- Algorithm 29 -------------------------------------------------------------------------- */

/* Places the tau signs from one block after the other; returns how many are still to place. The
 * first block begins with the signs. c is public (see mldsa_sign.c). */
static unsigned place(mldsa_poly *c, uint64_t *signs, unsigned left, const uint8_t *in,
                      unsigned from)
{
    for (unsigned pos = from; pos < SHAKE256_RATE && left > 0; pos++) {
        const unsigned i = MLDSA_N - left, j = in[pos];
        if (j > i)
            continue;
        c->c[i] = c->c[j];
        c->c[j] = 1 - 2 * (int32_t)(*signs & 1);
        *signs >>= 1;
        left--;
    }
    return left;
}

void mldsa_sample_in_ball(const struct mldsa_params *p, mldsa_poly *const c[],
                          const uint8_t *const ctilde[], unsigned n)
{
    uint8_t block[LANES][SHAKE256_RATE], *out[LANES];
    unsigned left[LANES], missing = 0;
    uint64_t signs[LANES];
    keccak_lanes xof;

    for (unsigned j = 0; j < n; j++)
        out[j] = block[j];
    keccak_lanes_absorb(&xof, n, SHAKE256_RATE, ctilde, p->ctilde_bytes);
    keccak_lanes_squeeze_blocks(&xof, out, 1);
    for (unsigned j = 0; j < n; j++) {
        memset(c[j], 0, sizeof *c[j]);
        signs[j] = load64_le(block[j]);
        left[j] = place(c[j], &signs[j], p->tau, block[j], 8);
        missing |= left[j];
    }
    while (missing) {
        missing = 0;
        keccak_lanes_squeeze_blocks(&xof, out, 1);
        for (unsigned j = 0; j < n; j++) {
            left[j] = place(c[j], &signs[j], left[j], block[j], 0);
            missing |= left[j];
        }
    }
}
