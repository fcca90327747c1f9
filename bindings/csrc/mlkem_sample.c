/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: sampling the matrix and the noise (FIPS 203 section 4.2.2), many lanes at a time. */
#include <string.h>

#include "bytes.h"
#include "ct.h"
#include "keccak.h"
#include "mlkem_poly.h"
#include "qpher_native.h"

enum {
    FIRST_BLOCKS = 3, /* 504 bytes give 273 of the 256 coefficients on average */
    XOF_INPUT = MLKEM_SYM_BYTES + 2,
    PRF_INPUT = MLKEM_SYM_BYTES + 1,
    PRF_BLOCKS = 2, /* 64 * eta bytes: 128 or 192 */
    PRF_BYTES = PRF_BLOCKS * SHAKE256_RATE
};

/* Algorithm 7 lines 4 to 16 on len bytes (a multiple of 3): appends what is below q. The input
 * comes from the public rho, so branches on it tell nothing. */
static unsigned reject(int16_t *c, unsigned have, const uint8_t *in, unsigned len)
{
    for (unsigned i = 0; i < len && have < MLKEM_N; i += 3) {
        const uint32_t three = load24_le(in + i);
        const uint16_t d1 = three & 0xfff, d2 = (uint16_t)(three >> 12);
        if (d1 < MLKEM_Q)
            c[have++] = (int16_t)d1;
        if (d2 < MLKEM_Q && have < MLKEM_N)
            c[have++] = (int16_t)d2;
    }
    return have;
}

/* n <= 8 polynomials from their XOF inputs. */
static void sample_ntt(mlkem_poly *p, unsigned n, const uint8_t *const in[])
{
    uint8_t blocks[KECCAK_MAX_LANES][FIRST_BLOCKS * SHAKE128_RATE];
    uint8_t *out[KECCAK_MAX_LANES];
    unsigned have[KECCAK_MAX_LANES], missing = 0;
    keccak_lanes lanes;

    keccak_lanes_absorb(&lanes, n, SHAKE128_RATE, in, XOF_INPUT);
    for (unsigned i = 0; i < n; i++)
        out[i] = blocks[i];
    keccak_lanes_squeeze_blocks(&lanes, out, FIRST_BLOCKS);
    for (unsigned i = 0; i < n; i++) {
        have[i] = reject(p[i].c, 0, blocks[i], sizeof blocks[i]);
        missing |= have[i] < MLKEM_N;
    }
    while (missing) {
        keccak_lanes_squeeze_blocks(&lanes, out, 1);
        missing = 0;
        for (unsigned i = 0; i < n; i++) {
            have[i] = reject(p[i].c, have[i], blocks[i], SHAKE128_RATE);
            missing |= have[i] < MLKEM_N;
        }
    }
}

void mlkem_sample_matrix(mlkem_poly *a, const uint8_t rho[MLKEM_SYM_BYTES], unsigned k)
{
    uint8_t inputs[KECCAK_MAX_LANES][XOF_INPUT];
    const uint8_t *in[KECCAK_MAX_LANES];

    for (unsigned done = 0, n; done < k * k; done += n) {
        n = k * k - done < KECCAK_MAX_LANES ? k * k - done : KECCAK_MAX_LANES;
        for (unsigned i = 0; i < n; i++) {
            memcpy(inputs[i], rho, MLKEM_SYM_BYTES);
            inputs[i][MLKEM_SYM_BYTES] = (uint8_t)((done + i) % k);     /* column j */
            inputs[i][MLKEM_SYM_BYTES + 1] = (uint8_t)((done + i) / k); /* row i */
            in[i] = inputs[i];
        }
        sample_ntt(a + done, n, in);
    }
}

/* Algorithm 8 for eta = 2: coefficient = bits 0, 1 minus bits 2, 3 of each nibble. */
static void cbd2(mlkem_poly *p, const uint8_t in[128])
{
    for (unsigned i = 0; i < MLKEM_N / 8; i++) {
        const uint32_t t = load32_le(in + 4 * i);
        const uint32_t d = (t & 0x55555555) + ((t >> 1) & 0x55555555);
        for (unsigned j = 0; j < 8; j++)
            p->c[8 * i + j] = (int16_t)((int)((d >> (4 * j)) & 3) - (int)((d >> (4 * j + 2)) & 3));
    }
}

/* Algorithm 8 for eta = 3: six bits a coefficient. */
static void cbd3(mlkem_poly *p, const uint8_t in[192])
{
    for (unsigned i = 0; i < MLKEM_N / 4; i++) {
        const uint32_t t = load24_le(in + 3 * i);
        const uint32_t d = (t & 0x249249) + ((t >> 1) & 0x249249) + ((t >> 2) & 0x249249);
        for (unsigned j = 0; j < 4; j++)
            p->c[4 * i + j] = (int16_t)((int)((d >> (6 * j)) & 7) - (int)((d >> (6 * j + 3)) & 7));
    }
}

void mlkem_sample_noise(mlkem_poly *const p[], unsigned n, unsigned eta,
                        const uint8_t seed[MLKEM_SYM_BYTES], uint8_t nonce)
{
    uint8_t inputs[KECCAK_MAX_LANES][PRF_INPUT], blocks[KECCAK_MAX_LANES][PRF_BYTES];
    const uint8_t *in[KECCAK_MAX_LANES] = {0};
    uint8_t *out[KECCAK_MAX_LANES];
    keccak_lanes lanes;

    for (unsigned i = 0; i < n; i++) {
        memcpy(inputs[i], seed, MLKEM_SYM_BYTES);
        inputs[i][MLKEM_SYM_BYTES] = (uint8_t)(nonce + i);
        in[i] = inputs[i];
        out[i] = blocks[i];
    }
    keccak_lanes_absorb(&lanes, n, SHAKE256_RATE, in, PRF_INPUT);
    keccak_lanes_squeeze_blocks(&lanes, out, eta == 2 ? 1 : 2);
    for (unsigned i = 0; i < n; i++) {
        if (eta == 2)
            cbd2(p[i], blocks[i]);
        else
            cbd3(p[i], blocks[i]);
        QPHER_CT_POISON(p[i], sizeof *p[i]); /* every bit: MemorySanitizer follows no carry */
    }
    qpher_wipe(inputs, sizeof inputs);
    qpher_wipe(blocks, sizeof blocks);
    keccak_lanes_wipe(&lanes);
}
