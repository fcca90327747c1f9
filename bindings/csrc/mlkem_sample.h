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
    MLKEM_QUEUE = 24, /* calls; all of one key of any set but the three for its last polynomials */
    MLKEM_SEED_INPUT = MLKEM_SYM_BYTES + 8, /* a seed and up to two bytes, in whole words */
};

/* The PRF output for the noise polynomials of one key or of one encryption: up to nine of one block,
 * or five of two, each with room for what is overwritten behind it. */
struct mlkem_noise {
    uint8_t bytes[5 * (SHAKE256_RATE + SHAKE128_RATE)];
};

struct mlkem_queue {
    unsigned n;
    struct keccak_call calls[MLKEM_QUEUE];
    mlkem_poly *polys[MLKEM_QUEUE]; /* of a call for the matrix, else null */
    uint8_t inputs[MLKEM_QUEUE][MLKEM_SEED_INPUT];
    uint8_t xof[MLKEM_QUEUE][MLKEM_XOF_BYTES];
};

void mlkem_queue_start(struct mlkem_queue *q);

/* Queues polynomials from..to-1 of the matrix of a key, row by row, from its rho. */
void mlkem_queue_matrix(struct mlkem_queue *q, qpher_mlkem_ek *ek,
                        const uint8_t rho[MLKEM_SYM_BYTES], unsigned from, unsigned to);

/* Queues the PRF of n noise polynomials, the first with_eta1 of them with eta1. */
void mlkem_queue_noise(struct mlkem_queue *q, struct mlkem_noise *noise,
                       const struct mlkem_params *params, unsigned with_eta1, unsigned n,
                       const uint8_t seed[MLKEM_SYM_BYTES]);

/* G (4.5): in is up to 64 bytes, the first 64 of out are its output. */
struct mlkem_g {
    uint8_t in[2 * MLKEM_SYM_BYTES], out[SHAKE128_RATE];
};

void mlkem_queue_g(struct mlkem_queue *q, struct mlkem_g *g, unsigned len);

/* H and J (4.4): mlkem_pad pads the len bytes of an input, and states that begin with zeros absorb
 * it, blocks at a time; the first 32 bytes of the state are the output. */
void mlkem_pad(uint8_t *input, unsigned len, uint8_t suffix);
void mlkem_queue_hash(struct mlkem_queue *q, uint64_t state[25], const uint8_t *in,
                      unsigned blocks);

/* Runs what is left in the queue, and wipes it. Inputs and outputs are in use until then. */
void mlkem_queue_finish(struct mlkem_queue *q);

/* Noise polynomial i, with the given eta (algorithm 8). */
void mlkem_noise_poly(mlkem_poly *p, const struct mlkem_noise *noise,
                      const struct mlkem_params *params, unsigned i, unsigned eta);

#endif
