/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling of ML-KEM (FIPS 203 section 4.2.2): calls of Keccak are queued, from one operation or
 * from several, and run when as many wait as this CPU permutes at once. */
#ifndef QPHER_MLKEM_SAMPLE_H
#define QPHER_MLKEM_SAMPLE_H

#include "keccak.h"
#include "mlkem_key.h"

enum {
    MLKEM_XOF_BLOCKS = 3, /* 504 bytes give 273 of the 256 coefficients on average */
    MLKEM_XOF_BYTES = MLKEM_XOF_BLOCKS * SHAKE128_RATE,
    /* PRF output of one operation, in whole blocks: 2 * 2 + 1 polynomials of two, or 2 * 4 + 1 of one */
    MLKEM_NOISE_BYTES = 10 * SHAKE256_RATE,
};

/* The PRF output for the noise polynomials of one key or of one encryption. */
struct mlkem_noise {
    uint8_t bytes[MLKEM_NOISE_BYTES];
};

struct mlkem_queue {
    unsigned n;
    struct keccak_call calls[KECCAK_MAX_LANES];
    mlkem_poly *polys[KECCAK_MAX_LANES]; /* of a call for the matrix, else null */
    uint8_t inputs[KECCAK_MAX_LANES][KECCAK_CALL_BYTES];
    uint8_t xof[KECCAK_MAX_LANES][MLKEM_XOF_BYTES];
};

void mlkem_queue_start(struct mlkem_queue *q);

/* Queues the whole matrix of a key, from its rho. */
void mlkem_queue_matrix(struct mlkem_queue *q, qpher_mlkem_ek *ek,
                         const uint8_t rho[MLKEM_SYM_BYTES]);

/* Queues the PRF of n noise polynomials, the first with_eta1 of them with eta1. */
void mlkem_queue_noise(struct mlkem_queue *q, struct mlkem_noise *noise,
                        const struct mlkem_params *params, unsigned with_eta1, unsigned n,
                        const uint8_t seed[MLKEM_SYM_BYTES]);

/* G (4.5): in is up to 64 bytes, out its 64 bytes and the rest of their block. */
struct mlkem_g {
    uint8_t in[2 * MLKEM_SYM_BYTES], out[SHA3_512_RATE];
};

void mlkem_queue_g(struct mlkem_queue *q, struct mlkem_g *g, unsigned len);

/* Queues the absorption of one block of SHAKE256 into a state. */
void mlkem_queue_absorb(struct mlkem_queue *q, uint64_t state[25],
                         const uint8_t block[SHAKE256_RATE]);

/* Runs what is left in the queue, and wipes it. Inputs and outputs are in use until then. */
void mlkem_queue_finish(struct mlkem_queue *q);

/* Noise polynomial i, with the given eta (algorithm 8). */
void mlkem_noise_poly(mlkem_poly *p, const struct mlkem_noise *noise,
                      const struct mlkem_params *params, unsigned i, unsigned eta);

#endif
