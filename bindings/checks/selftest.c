/* SPDX-License-Identifier: Apache-2.0 */
/* The known answers of qpher_native/_poweron.py, computed in C alone: for processors on which no
 * Python is at hand. Prints one line per parameter set; bindings/checks/answers.py prints the
 * same lines from the Python side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "qpher_native.h"

static void *fresh(size_t n)
{
    void *p = aligned_alloc(QPHER_ALIGNMENT,
                            (n + QPHER_ALIGNMENT - 1) / QPHER_ALIGNMENT * QPHER_ALIGNMENT);
    MUST(p == NULL);
    return p;
}

static void print(const char *name, const uint8_t *data, size_t n)
{
    uint8_t digest[32];
    MUST(qpher_sha3_256(digest, data, n));
    printf("%s ", name);
    for (int i = 0; i < 32; i++)
        printf("%02x", digest[i]);
    printf("\n");
}

static void kem(const char *name, int set)
{
    const size_t ek_len = qpher_mlkem_ek_length(set), dk_len = qpher_mlkem_dk_length(set);
    const size_t ct_len = qpher_mlkem_ct_length(set), total = ek_len + dk_len + ct_len + 64;
    qpher_mlkem_dk *dk = fresh(qpher_mlkem_dk_bytes());
    uint8_t *all = fresh(total), *expanded = all + ek_len, *ct = expanded + dk_len;
    uint8_t *ss = ct + ct_len, *rejected = ss + 32, again[32], seed[96];
    for (uint8_t i = 0; i < 96; i++)
        seed[i] = i;
    MUST(qpher_mlkem_from_seed(dk, set, seed, 64));
    MUST(qpher_mlkem_encode_ek(qpher_mlkem_ek_of(dk), all, ek_len));
    MUST(qpher_mlkem_expanded(dk, expanded, dk_len));
    MUST(qpher_mlkem_encapsulate_with(qpher_mlkem_ek_of(dk), ct, ss, seed + 64, 32));
    MUST(qpher_mlkem_decapsulate(dk, again, ct, ct_len));
    MUST(memcmp(ss, again, 32));
    ct[0] ^= 1;
    MUST(qpher_mlkem_decapsulate(dk, rejected, ct, ct_len));
    ct[0] ^= 1;
    print(name, all, total);
    MUST(qpher_mlkem_generate(dk, set));
    free(dk);
    free(all);
}

static void dsa(const char *name, int set)
{
    static const uint8_t message[] = "power-on self-test", context[] = "qpher", rnd[32];
    const size_t pk_len = qpher_mldsa_public_key_len(set), sk_len = qpher_mldsa_expanded_len(set);
    const size_t sig_len = qpher_mldsa_signature_len(set), total = pk_len + sk_len + sig_len;
    qpher_mldsa_sk *sk = fresh(qpher_mldsa_sk_bytes(set));
    qpher_mldsa_pk *pk = fresh(qpher_mldsa_pk_bytes(set));
    uint8_t *all = fresh(total), *expanded = all + pk_len, *sig = expanded + sk_len, seed[32];
    for (uint8_t i = 0; i < 32; i++)
        seed[i] = i;
    MUST(qpher_mldsa_from_seed(sk, set, seed, 32));
    MUST(qpher_mldsa_prepare(sk));
    MUST(qpher_mldsa_public_key(pk, sk));
    MUST(qpher_mldsa_encode(pk, all, pk_len));
    MUST(qpher_mldsa_expanded(sk, expanded, sk_len));
    MUST(qpher_mldsa_sign(sk, sig, sig_len, message, 18, context, 5, rnd, 32));
    MUST(qpher_mldsa_verify(pk, sig, sig_len, message, 18, context, 5));
    sig[0] ^= 1;
    MUST(qpher_mldsa_verify(pk, sig, sig_len, message, 18, context, 5) != QPHER_ERR_SIGNATURE);
    sig[0] ^= 1;
    print(name, all, total);
    MUST(qpher_mldsa_generate(sk, set));
    MUST(qpher_mldsa_prepare(sk));
    free(sk);
    free(pk);
    free(all);
}

int main(int argc, char **argv)
{
    MUST(qpher_init(argc > 1 ? atoi(argv[1]) : -1) < 0);
    print("SHA3-256", NULL, 0);
    kem("ML-KEM-512", QPHER_MLKEM_512);
    kem("ML-KEM-768", QPHER_MLKEM_768);
    kem("ML-KEM-1024", QPHER_MLKEM_1024);
    dsa("ML-DSA-44", QPHER_MLDSA_44);
    dsa("ML-DSA-65", QPHER_MLDSA_65);
    dsa("ML-DSA-87", QPHER_MLDSA_87);
    return 0;
}
