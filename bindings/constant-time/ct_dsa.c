/* SPDX-License-Identifier: Apache-2.0 */
/* ML-DSA on poisoned secrets: every branch, index or division that depends on one is reported.
 *
 * Poisoned: xi, the randomness of a signature, the secret parts of an expanded key, and with them
 * all that is computed from them. What signing may show is declassified and argued at the place
 * in mldsa_sign.c. */
#include "harness.h"

/* Heap memory, as a caller gives it. */
static void *fresh(size_t n)
{
    return aligned_alloc(QPHER_ALIGNMENT,
                         (n + QPHER_ALIGNMENT - 1) / QPHER_ALIGNMENT * QPHER_ALIGNMENT);
}

static void check_set(int set)
{
    const size_t pk_len = qpher_mldsa_public_key_len(set), sk_len = qpher_mldsa_expanded_len(set);
    const size_t sig_len = qpher_mldsa_signature_len(set);
    qpher_mldsa_sk *sk = fresh(qpher_mldsa_sk_bytes(set));
    qpher_mldsa_pk *pk = fresh(qpher_mldsa_pk_bytes(set));
    uint8_t *encoded = fresh(pk_len), *expanded = fresh(sk_len), *sig = fresh(3 * sig_len);
    uint8_t seed[32], rnd[32], mu[64] = {1}, msg[3] = {1, 2, 3};
    const size_t lengths[3] = {1, 1, 1};

    for (uint8_t i = 0; i < 32; i++) {
        seed[i] = (uint8_t)(7 * i + set);
        rnd[i] = (uint8_t)(11 * i + set);
    }
    QPHER_CT_POISON(seed, sizeof seed);
    QPHER_CT_POISON(rnd, sizeof rnd);

    MUST(qpher_mldsa_from_seed(sk, set, seed, sizeof seed));
    MUST(qpher_mldsa_prepare(sk));
    MUST(qpher_mldsa_public_key(pk, sk));
    MUST(qpher_mldsa_encode(pk, encoded, pk_len));
    MUST(qpher_mldsa_expanded(sk, expanded, sk_len));
    MUST(is_poisoned(expanded + 32, 32)); /* K, */
    MUST(is_poisoned(expanded + 128, sk_len - 128 - 416)); /* s1, s2 and t0 but its last */

    /* Several signatures, so that the loop rejects for every reason. */
    for (uint8_t i = 0; i < 4; i++) {
        msg[0] = i;
        MUST(qpher_mldsa_sign(sk, sig, sig_len, msg, sizeof msg, NULL, 0, rnd, sizeof rnd));
        MUST(qpher_mldsa_verify(pk, sig, sig_len, msg, sizeof msg, NULL, 0));
    }
    MUST(qpher_mldsa_sign_mu(sk, sig, sig_len, mu, sizeof mu, rnd, sizeof rnd));
    MUST(qpher_mldsa_verify_mu(pk, sig, sig_len, mu, sizeof mu));
    MUST(qpher_mldsa_sign_many(sk, 3, sig, 3 * sig_len, msg, 3, lengths, NULL, 0, NULL, 0));

    MUST(qpher_mldsa_from_expanded(sk, set, expanded, sk_len));
    MUST(qpher_mldsa_prepare(sk));
    MUST(qpher_mldsa_sign(sk, sig, sig_len, msg, sizeof msg, NULL, 0, rnd, sizeof rnd));
    MUST(qpher_mldsa_verify(pk, sig, sig_len, msg, sizeof msg, NULL, 0));
    MUST(qpher_mldsa_generate(sk, set));
    MUST(qpher_mldsa_prepare(sk));
    MUST(qpher_mldsa_sign(sk, sig, sig_len, msg, sizeof msg, NULL, 0, NULL, 0));

    free(sk);
    free(pk);
    free(encoded);
    free(expanded);
    free(sig);
}

int main(int argc, char **argv)
{
    choose_path(argc, argv);
    check_set(QPHER_MLDSA_44);
    check_set(QPHER_MLDSA_65);
    check_set(QPHER_MLDSA_87);
    puts("ML-DSA: done");
    return 0;
}
