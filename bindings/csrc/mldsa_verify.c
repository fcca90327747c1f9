/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 algorithm 8, ML-DSA.Verify_internal. Everything here is public. */
#include <string.h>

#include "cpu.h"
#include "keccak.h"
#include "mldsa_pack.h"
#include "mldsa_sample.h"
#include "mldsa_sign.h"

enum { MAX_WIDTH = KECCAK_MAX_LANES };

/* Lines 2 to 10 of one check: decodes, and w1' = UseHint(h, A*z - c*t1*2^d) into hashed.
 * vector holds c in the place after z, where the rows have -t1*2^d. Returns 0 unless the
 * signature is malformed or z is too long. */
static int reconstruct(const struct mldsa_params *p, const qpher_mldsa_pk *pk,
                       const uint8_t *signature, mldsa_poly *vector, uint8_t *w1_out)
{
    const struct mldsa_unit *unit = qpher_dispatch.mldsa;
    const size_t z_bytes = mldsa_packed_bytes(p->z_bits), w1_bytes = mldsa_packed_bytes(p->w1_bits);
    const uint8_t *const z = signature + p->ctilde_bytes;
    uint8_t h[MLDSA_MAX_K][MLDSA_N], w1[MLDSA_N];
    mldsa_poly w;

    if (mldsa_unpack_hint(p, h, z + p->l * z_bytes) != 0)
        return -1;
    for (unsigned i = 0; i < p->l; i++) {
        unit->unpack_z(&vector[i], z + i * z_bytes, p->z_bits);
        if (unit->exceeds(&vector[i], p->gamma1 - p->beta))
            return -1;
        unit->ntt(&vector[i]);
    }
    unit->ntt(&vector[p->l]);
    for (unsigned i = 0; i < p->k; i++) {
        unit->dot(&w, &pk->rows[i * (p->l + 1)], vector, p->l + 1);
        unit->intt(&w);
        unit->use_hint(w1, &w, h[i], p->gamma2);
        unit->pack_w1(w1_out + i * w1_bytes, w1, p->w1_bits);
    }
    return 0;
}

/* As many checks as there are lanes. */
static void verify_group(const struct mldsa_params *p, const qpher_mldsa_pk *pk,
                         struct mldsa_check *checks, unsigned n)
{
    const size_t hashed_bytes = MLDSA_MU_BYTES + p->k * mldsa_packed_bytes(p->w1_bits);
    uint8_t hashed[MAX_WIDTH][MLDSA_MU_BYTES + MLDSA_MAX_W1_BYTES];
    uint8_t digest[MAX_WIDTH][SHAKE256_RATE], *out[MAX_WIDTH];
    const uint8_t *in[MAX_WIDTH] = {0};
    mldsa_poly vector[MLDSA_MAX_L + 1], c[MAX_WIDTH], *challenges[MAX_WIDTH];
    keccak_lanes lanes;

    for (unsigned j = 0; j < n; j++) {
        in[j] = checks[j].signature; /* begins with the commitment hash */
        challenges[j] = n == 1 ? &vector[p->l] : &c[j];
    }
    mldsa_sample_in_ball(p, challenges, in, n);
    for (unsigned j = 0; j < n; j++) {
        if (n > 1)
            vector[p->l] = c[j];
        memcpy(hashed[j], checks[j].mu, MLDSA_MU_BYTES);
        checks[j].valid = reconstruct(p, pk, checks[j].signature, vector,
                                      hashed[j] + MLDSA_MU_BYTES) == 0;
        if (!checks[j].valid)
            memset(hashed[j], 0, hashed_bytes);
        in[j] = hashed[j];
        out[j] = digest[j];
    }
    if (n == 1 && !checks[0].valid)
        return;
    keccak_lanes_absorb(&lanes, n, SHAKE256_RATE, in, hashed_bytes);
    keccak_lanes_squeeze_blocks(&lanes, out, 1);
    for (unsigned j = 0; j < n; j++)
        checks[j].valid &= memcmp(digest[j], checks[j].signature, p->ctilde_bytes) == 0;
}

void mldsa_verify(const struct mldsa_params *p, const qpher_mldsa_pk *pk,
                  struct mldsa_check *checks, unsigned n)
{
    for (unsigned done = 0; done < n; done += MAX_WIDTH)
        verify_group(p, pk, checks + done, n - done < MAX_WIDTH ? n - done : MAX_WIDTH);
}
