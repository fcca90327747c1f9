/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 204 algorithms 32 and 33, ExpandA and ExpandS, with the hash of the public key beside them.
 *
 * Every polynomial of the matrix, of s1 and of s2 has a Keccak state of its own, and tr = H(pk) is
 * a chain of them. They share permutations: a lane that has finished one takes the next, and the
 * chain goes through a lane whenever its next block is known. */
#ifndef QPHER_MLDSA_EXPAND_H
#define QPHER_MLDSA_EXPAND_H

#include "keccak.h"
#include "mldsa_key.h"

/* The polynomial that a lane makes; null while it makes none. */
struct mldsa_expand_lane {
    mldsa_poly *r;
    unsigned have, part;
    int secret;
};

struct mldsa_expansion {
    const struct mldsa_params *p;
    qpher_mldsa_pk *pk;
    mldsa_poly *s;
    const uint8_t *rho_prime;
    /* Part 0 is s1, part 1 + i is row i of the matrix with s2[i]: what to begin next, and how many
     * polynomials each part lacks. */
    unsigned part, index, lacks[1 + MLDSA_MAX_K];
    size_t known;    /* bytes of the encoded public key that stand */
    unsigned hashed; /* blocks of it that are absorbed */
    uint64_t chain[25];
    struct mldsa_expand_lane lane[KECCAK_MAX_LANES];
    uint8_t block[KECCAK_MAX_LANES][SHAKE128_RATE];
    keccak_lanes k;
};

/* Expands rho, which begins pk->encoded, into the rows of pk; and rho_prime of 64 bytes into s1 and
 * s2, one after the other in s, unless it is null. The caller tells in known what of pk->encoded it
 * has written. */
void mldsa_expand_start(struct mldsa_expansion *x, const struct mldsa_params *p, qpher_mldsa_pk *pk,
                        mldsa_poly *s, const uint8_t *rho_prime);

/* Returns when row i of the matrix, s2[i] and s1 are there. Out: A in [0, q) in the NTT domain,
 * s1 and s2 within +-eta. */
void mldsa_expand_row(struct mldsa_expansion *x, unsigned i);

/* Once all rows are there and the public key stands: writes pk->tr, and wipes x. */
void mldsa_expand_finish(struct mldsa_expansion *x);

#endif
