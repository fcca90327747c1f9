/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM on poisoned secrets: every branch, index or division that depends on one is reported.
 *
 * Poisoned: d, z, m, the secret parts of an expanded key, and with them all that is computed
 * from them. Public, and so declassified here or inside: rho, the encapsulation key, ciphertexts,
 * and the shared secret once it is the caller's. */
#include "harness.h"

/* Heap memory, as a caller gives it. */
static uint8_t *bytes(size_t n)
{
    return aligned_alloc(QPHER_ALIGNMENT, (n + QPHER_ALIGNMENT - 1) / QPHER_ALIGNMENT * QPHER_ALIGNMENT);
}

/* The batch functions, on more than one group of lanes; one of the ciphertexts is wrong. */
static void check_many(qpher_mlkem_dk *first, int set)
{
    enum { N = 9 };
    const size_t ct_len = qpher_mlkem_ct_length(set);
    qpher_mlkem_dk *dks[2] = {first, (void *)bytes(qpher_mlkem_dk_bytes())};
    uint8_t *cts = bytes(N * ct_len), ss[N * 32], again[N * 32];

    MUST(qpher_mlkem_generate_many(dks, set, 2));
    MUST(qpher_mlkem_encapsulate_many(qpher_mlkem_ek_of(dks[1]), N, cts, ss));
    cts[5] ^= 1;
    MUST(qpher_mlkem_decapsulate_many(dks[1], N, again, cts, N * ct_len));
    QPHER_CT_DECLASSIFY(ss, sizeof ss);
    QPHER_CT_DECLASSIFY(again, sizeof again);
    MUST(memcmp(ss, again, 32) == 0);
    MUST(memcmp(ss + 32, again + 32, sizeof ss - 32) != 0);
    free(dks[1]);
    free(cts);
}

static void check_set(int set)
{
    const size_t ek_len = qpher_mlkem_ek_length(set), dk_len = qpher_mlkem_dk_length(set);
    const size_t ct_len = qpher_mlkem_ct_length(set), s_len = (dk_len - ek_len) - 64;
    qpher_mlkem_dk *dk = (void *)bytes(qpher_mlkem_dk_bytes());
    qpher_mlkem_ek *ek = (void *)bytes(qpher_mlkem_ek_bytes());
    uint8_t *encoded = bytes(ek_len), *expanded = bytes(dk_len), *ct = bytes(ct_len);
    uint8_t seed[64], m[32], ss[32], again[32];

    for (uint8_t i = 0; i < 64; i++)
        seed[i] = (uint8_t)(7 * i + set);
    for (uint8_t i = 0; i < 32; i++)
        m[i] = (uint8_t)(11 * i + set);
    QPHER_CT_POISON(seed, sizeof seed);
    QPHER_CT_POISON(m, sizeof m);

    MUST(qpher_mlkem_from_seed(dk, set, seed, sizeof seed));
    MUST(qpher_mlkem_encode_ek(qpher_mlkem_ek_of(dk), encoded, ek_len));
    MUST(qpher_mlkem_expanded(dk, expanded, dk_len));
    MUST(is_poisoned(expanded, s_len)); /* the poison went through the key generation */
    MUST(is_poisoned(expanded + dk_len - 32, 32));

    MUST(qpher_mlkem_load_ek(ek, set, encoded, ek_len));
    MUST(qpher_mlkem_encapsulate_with(ek, ct, ss, m, sizeof m));
    QPHER_CT_DECLASSIFY(ss, sizeof ss);
    MUST(qpher_mlkem_decapsulate(dk, again, ct, ct_len));
    QPHER_CT_DECLASSIFY(again, sizeof again);
    MUST(memcmp(ss, again, 32) != 0);

    ct[ct_len / 2] ^= 1; /* implicit rejection: nobody may learn that it happened */
    MUST(qpher_mlkem_decapsulate(dk, again, ct, ct_len));
    QPHER_CT_DECLASSIFY(again, sizeof again);
    MUST(memcmp(ss, again, 32) == 0);

    MUST(qpher_mlkem_from_expanded(dk, set, expanded, dk_len));
    MUST(qpher_mlkem_decapsulate(dk, again, ct, ct_len));
    MUST(qpher_mlkem_generate(dk, set));
    MUST(qpher_mlkem_encapsulate(ek, ct, ss));

    check_many(dk, set);
    free(dk);
    free(ek);
    free(encoded);
    free(expanded);
    free(ct);
}

int main(int argc, char **argv)
{
    choose_path(argc, argv);
    for (int set = QPHER_MLKEM_512; set <= QPHER_MLKEM_1024; set++)
        check_set(set);
    puts("ML-KEM: done");
    return 0;
}
