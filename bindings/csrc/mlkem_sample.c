/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: sampling the matrix and the noise, many lanes at a time. */
#include <string.h>

#include "cpu.h"
#include "ct.h"
#include "mlkem_sample.h"

enum { SYM = MLKEM_SYM_BYTES };

void mlkem_queue_start(struct mlkem_queue *q)
{
    q->n = 0;
}

/* Algorithm 7 where three blocks were not enough (one polynomial in 140): the same with more. */
static void sample_longer(mlkem_poly *p, unsigned have, const uint8_t input[SYM + 2])
{
    uint8_t block[SHAKE128_RATE];
    keccak_sponge xof;
    shake128_init(&xof);
    shake_absorb(&xof, input, SYM + 2);
    shake_finalize(&xof);
    for (unsigned i = 0; have < MLKEM_N; i++) {
        shake_squeeze(&xof, block, sizeof block);
        if (i >= MLKEM_XOF_BLOCKS)
            have = qpher_dispatch.mlkem->reject_uniform(p, have, block, sizeof block);
    }
}

static void run(struct mlkem_queue *q)
{
    keccak_calls(q->calls, q->n);
    for (unsigned i = 0; i < q->n; i++) {
        mlkem_poly *p = q->polys[i];
        unsigned have;
        if (p == NULL)
            continue;
        /* From the public rho, so branches on it tell nothing. */
        have = qpher_dispatch.mlkem->reject_uniform(p, 0, q->xof[i], MLKEM_XOF_BYTES);
        if (have < MLKEM_N)
            sample_longer(p, have, q->inputs[i]);
    }
    q->n = 0;
}

/* The next place of the queue, with an input that begins with the seed. */
static struct keccak_call *next(struct mlkem_queue *q, const uint8_t *seed)
{
    if (q->n == MLKEM_QUEUE)
        run(q);
    if (seed != NULL) {
        memcpy(q->inputs[q->n], seed, SYM);
        memset(q->inputs[q->n] + SYM, 0, MLKEM_SEED_INPUT - SYM);
    }
    q->polys[q->n] = NULL;
    return &q->calls[q->n++];
}

void mlkem_queue_matrix(struct mlkem_queue *q, qpher_mlkem_ek *ek, const uint8_t rho[SYM],
                        unsigned from, unsigned to)
{
    const unsigned k = ek->params->k;
    for (unsigned i = from; i < to; i++) {
        struct keccak_call *call = next(q, rho);
        const unsigned place = q->n - 1;
        q->inputs[place][SYM] = (uint8_t)(i % k); /* column, then row */
        q->inputs[place][SYM + 1] = (uint8_t)(i / k);
        q->polys[place] = &ek->a[i];
        *call = (struct keccak_call){
            .in = q->inputs[place],
            .len = SYM + 2,
            .out = q->xof[place],
            .rate = SHAKE128_RATE,
            .suffix = KECCAK_SUFFIX_SHAKE,
            .blocks = MLKEM_XOF_BLOCKS,
        };
    }
}

/* Bytes from one noise polynomial to the next: the blocks that eta1 needs, the last with the room
 * that keccak_calls wants. */
static unsigned stride(const struct mlkem_params *params)
{
    return params->eta1 == 3 ? SHAKE256_RATE + SHAKE128_RATE : SHAKE128_RATE;
}

void mlkem_queue_noise(struct mlkem_queue *q, struct mlkem_noise *noise,
                       const struct mlkem_params *params, unsigned with_eta1, unsigned n,
                       const uint8_t seed[SYM])
{
    for (unsigned i = 0; i < n; i++) {
        struct keccak_call *call = next(q, seed);
        const unsigned place = q->n - 1;
        q->inputs[place][SYM] = (uint8_t)i;
        *call = (struct keccak_call){
            .in = q->inputs[place],
            .len = SYM + 1,
            .out = noise->bytes + i * stride(params),
            .rate = SHAKE256_RATE,
            .suffix = KECCAK_SUFFIX_SHAKE,
            .blocks = i < with_eta1 && params->eta1 == 3 ? 2 : 1, /* of 64 * eta bytes */
        };
    }
}

void mlkem_queue_g(struct mlkem_queue *q, struct mlkem_g *g, unsigned len)
{
    *next(q, NULL) = (struct keccak_call){
        .in = g->in,
        .len = (uint8_t)len,
        .out = g->out,
        .rate = SHA3_512_RATE,
        .suffix = KECCAK_SUFFIX_SHA3,
        .blocks = 1,
    };
}

void mlkem_pad(uint8_t *input, unsigned len, uint8_t suffix)
{
    memset(input + len, 0, MLKEM_PADDED(len) - len);
    input[len] = suffix;
    input[MLKEM_PADDED(len) - 1] |= 0x80;
}

void mlkem_queue_hash(struct mlkem_queue *q, uint64_t state[25], const uint8_t *in,
                      unsigned blocks)
{
    *next(q, NULL) = (struct keccak_call){
        .in = in, .rate = MLKEM_HASH_BLOCK, .state = state, .blocks = (uint8_t)blocks};
}

void mlkem_queue_finish(struct mlkem_queue *q)
{
    if (q->n > 0)
        run(q);
    qpher_wipe(q->inputs, sizeof q->inputs);
}

void mlkem_noise_poly(mlkem_poly *p, const struct mlkem_noise *noise,
                      const struct mlkem_params *params, unsigned i, unsigned eta)
{
    const uint8_t *bytes = noise->bytes + i * stride(params);
    if (eta == 2)
        qpher_dispatch.mlkem->cbd2(p, bytes);
    else
        qpher_dispatch.mlkem->cbd3(p, bytes);
    QPHER_CT_POISON(p, sizeof *p); /* every bit: MemorySanitizer follows no carry */
}
