/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation once more under callgrind, which counts the instructions of each: see
 * instructions.py. All inputs are fixed, so two runs of one build count the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "must.h"
#include "qpher_native.h"

enum { BATCH = 64 };

/* The dump's name, "set, operation, n", tells how many operations the call made. */
#define COUNT(set, operation, n, call)                                                           \
    do {                                                                                         \
        char name_[80];                                                                          \
        snprintf(name_, sizeof name_, "%s, %s, %d", set, operation, n);                          \
        CALLGRIND_ZERO_STATS;                                                                    \
        MUST(call);                                                                              \
        CALLGRIND_DUMP_STATS_AT(name_);                                                          \
    } while (0)

static void *fresh(size_t n)
{
    void *p = aligned_alloc(QPHER_ALIGNMENT,
                            (n + QPHER_ALIGNMENT - 1) / QPHER_ALIGNMENT * QPHER_ALIGNMENT);
    MUST(p == NULL);
    return memset(p, 0, n);
}

static void kem(const char *name, int set)
{
    const size_t ct_len = qpher_mlkem_ct_length(set);
    qpher_mlkem_dk *dk = fresh(qpher_mlkem_dk_bytes());
    uint8_t *cts = fresh(BATCH * ct_len), *secrets = fresh(BATCH * 32), *seed = fresh(64);
    COUNT(name, "key generation", 1, qpher_mlkem_from_seed(dk, set, seed, 64));
    COUNT(name, "encapsulate", 1,
          qpher_mlkem_encapsulate_with(qpher_mlkem_ek_of(dk), cts, secrets, seed, 32));
    COUNT(name, "decapsulate", 1, qpher_mlkem_decapsulate(dk, secrets, cts, ct_len));
    for (size_t i = 1; i < BATCH; i++)
        memcpy(cts + i * ct_len, cts, ct_len);
    COUNT(name, "decapsulate, batch", BATCH,
          qpher_mlkem_decapsulate_many(dk, BATCH, secrets, cts, BATCH * ct_len));
    free(dk);
    free(cts);
    free(secrets);
    free(seed);
}

struct messages {
    uint8_t all[BATCH][32], zeros[BATCH][32];
    size_t lengths[BATCH];
};

static int sign_each(const qpher_mldsa_sk *sk, const struct messages *m, uint8_t *sigs, size_t len)
{
    int err = QPHER_OK;
    for (size_t i = 0; i < BATCH; i++)
        err |= qpher_mldsa_sign(sk, sigs + i * len, len, m->all[i], 32, NULL, 0, m->zeros[i], 32);
    return err;
}

static void dsa(const char *name, int set)
{
    const size_t pk_len = qpher_mldsa_public_key_len(set), len = qpher_mldsa_signature_len(set);
    qpher_mldsa_sk *sk = fresh(qpher_mldsa_sk_bytes(set));
    qpher_mldsa_pk *pk = fresh(qpher_mldsa_pk_bytes(set));
    struct messages *m = fresh(sizeof *m);
    uint8_t *encoded = fresh(pk_len), *sigs = fresh(BATCH * len), results[BATCH];
    for (uint8_t i = 0; i < BATCH; i++) {
        m->all[i][0] = i;
        m->lengths[i] = 32;
    }
    COUNT(name, "key generation", 1, qpher_mldsa_from_seed(sk, set, m->zeros[0], 32));
    COUNT(name, "preparing a key for signing", 1, qpher_mldsa_prepare(sk));
    MUST(qpher_mldsa_public_key(pk, sk));
    MUST(qpher_mldsa_encode(pk, encoded, pk_len));
    COUNT(name, "opening a public key", 1, qpher_mldsa_load_public_key(pk, set, encoded, pk_len));
    COUNT(name, "sign", BATCH, sign_each(sk, m, sigs, len));
    COUNT(name, "sign, batch", BATCH,
          qpher_mldsa_sign_many(sk, BATCH, sigs, BATCH * len, m->all[0], sizeof m->all, m->lengths,
                                NULL, 0, m->zeros[0], sizeof m->zeros));
    COUNT(name, "verify", 1, qpher_mldsa_verify(pk, sigs, len, m->all[0], 32, NULL, 0));
    COUNT(name, "verify, batch", BATCH,
          qpher_mldsa_verify_many(pk, BATCH, results, sigs, BATCH * len, m->all[0], sizeof m->all,
                                  m->lengths, NULL, 0));
    free(sk);
    free(pk);
    free(m);
    free(encoded);
    free(sigs);
}

int main(int argc, char **argv)
{
    MUST(qpher_init(argc > 1 ? atoi(argv[1]) : -1) < 0);
    kem("ML-KEM-512", QPHER_MLKEM_512);
    kem("ML-KEM-768", QPHER_MLKEM_768);
    kem("ML-KEM-1024", QPHER_MLKEM_1024);
    dsa("ML-DSA-44", QPHER_MLDSA_44);
    dsa("ML-DSA-65", QPHER_MLDSA_65);
    dsa("ML-DSA-87", QPHER_MLDSA_87);
    return 0;
}
