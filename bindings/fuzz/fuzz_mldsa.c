/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer: public keys, expanded signing keys, signatures and hints of ML-DSA from outside. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SETS = 3 };

static const struct {
    int set;
    size_t hint; /* bytes of the encoded hint, omega + k, at the end of a signature */
} sets[SETS] = {{QPHER_MLDSA_44, 84}, {QPHER_MLDSA_65, 61}, {QPHER_MLDSA_87, 83}};

static const uint8_t message[4] = {'f', 'u', 'z', 'z'};
static const uint8_t zero[32];

static struct {
    qpher_mldsa_pk *pk[2]; /* opened on each path: an opened key belongs to the path it came from */
    uint8_t *encoded, *expanded, *sig;
} valid[SETS];

static void prepare(void)
{
    for (int i = 0; i < SETS; i++) {
        const int set = sets[i].set;
        const size_t pk_len = qpher_mldsa_public_key_len(set);
        const size_t sk_len = qpher_mldsa_expanded_len(set);
        const size_t sig_len = qpher_mldsa_signature_len(set);
        valid[i].encoded = fresh(pk_len);
        valid[i].expanded = fresh(sk_len);
        valid[i].sig = fresh(sig_len);
        for (int path = 0; path < 2; path++) {
            qpher_mldsa_sk *sk = fresh(qpher_mldsa_sk_bytes(set));
            use_path(path);
            valid[i].pk[path] = fresh(qpher_mldsa_pk_bytes(set));
            REQUIRE(qpher_mldsa_from_seed(sk, set, zero, 32) == 0);
            REQUIRE(qpher_mldsa_prepare(sk) == 0);
            REQUIRE(qpher_mldsa_public_key(valid[i].pk[path], sk) == 0);
            REQUIRE(qpher_mldsa_encode(valid[i].pk[path], valid[i].encoded, pk_len) == 0);
            REQUIRE(qpher_mldsa_expanded(sk, valid[i].expanded, sk_len) == 0);
            REQUIRE(qpher_mldsa_sign(sk, valid[i].sig, sig_len, message, 4, NULL, 0, zero, 32) == 0);
            free(sk);
        }
    }
}

#if defined(FUZZ_MLDSA_PK)
/* A public key of the right length always opens; verification says the same on both paths. */
static void one(int i, const uint8_t *data, size_t size)
{
    const int set = sets[i].set;
    const size_t pk_len = qpher_mldsa_public_key_len(set);
    const object o = make(data, size, valid[i].encoded, pk_len);
    qpher_mldsa_pk *pk = fresh(qpher_mldsa_pk_bytes(set));
    uint8_t *again = fresh(pk_len);
    int result[2] = {0, 0};

    for (int path = 0; path < 2; path++) {
        use_path(path);
        const int loaded = qpher_mldsa_load_public_key(pk, set, o.bytes, o.length);
        REQUIRE(loaded == (o.length == pk_len ? QPHER_OK : QPHER_ERR_LENGTH));
        if (loaded == 0) {
            REQUIRE(qpher_mldsa_encode(pk, again, pk_len) == 0);
            REQUIRE(memcmp(again, o.bytes, pk_len) == 0);
            result[path] = qpher_mldsa_verify(pk, valid[i].sig, qpher_mldsa_signature_len(set),
                                              message, 4, NULL, 0);
            if (result[path] == 0)
                REQUIRE(memcmp(o.bytes, valid[i].encoded, pk_len) == 0);
        }
    }
    REQUIRE(result[0] == result[1]);
    free(pk);
    free(again);
    free(o.bytes);
}
#elif defined(FUZZ_MLDSA_SK)
/* An expanded key either is refused, or signs what its public key verifies, on both paths. */
static void one(int i, const uint8_t *data, size_t size)
{
    const int set = sets[i].set;
    const size_t sk_len = qpher_mldsa_expanded_len(set), sig_len = qpher_mldsa_signature_len(set);
    const object o = make(data, size, valid[i].expanded, sk_len);
    qpher_mldsa_sk *sk = fresh(qpher_mldsa_sk_bytes(set));
    qpher_mldsa_pk *pk = fresh(qpher_mldsa_pk_bytes(set));
    uint8_t *again = fresh(sk_len), *sig[2] = {fresh(sig_len), fresh(sig_len)};
    int result[2];

    for (int path = 0; path < 2; path++) {
        use_path(path);
        memset(sig[path], 0, sig_len);
        result[path] = qpher_mldsa_from_expanded(sk, set, o.bytes, o.length);
        if (result[path] == 0) {
            REQUIRE(qpher_mldsa_prepare(sk) == 0);
            REQUIRE(qpher_mldsa_expanded(sk, again, sk_len) == 0);
            REQUIRE(memcmp(again, o.bytes, sk_len) == 0);
            REQUIRE(qpher_mldsa_public_key(pk, sk) == 0);
            REQUIRE(qpher_mldsa_sign(sk, sig[path], sig_len, message, 4, NULL, 0, zero, 32) == 0);
            REQUIRE(qpher_mldsa_verify(pk, sig[path], sig_len, message, 4, NULL, 0) == 0);
        }
    }
    REQUIRE(result[0] == result[1]);
    REQUIRE(memcmp(sig[0], sig[1], sig_len) == 0);
    free(sk);
    free(pk);
    free(again);
    free(sig[0]);
    free(sig[1]);
    free(o.bytes);
}
#else
/* Nothing but the one valid signature of a deterministic signer verifies, on either path: a fuzzer
 * that finds another one has broken the encoding's uniqueness, or the scheme. */
static void one(int i, const uint8_t *data, size_t size)
{
    const size_t sig_len = qpher_mldsa_signature_len(sets[i].set);
    object o;
#if defined(FUZZ_MLDSA_HINT)
    /* All but the hint is valid, so that every input reaches the decoder of hints. */
    const size_t hint = sets[i].hint, n = size > 2 ? size - 2 : 0;
    o.length = sig_len;
    o.bytes = malloc(sig_len);
    REQUIRE(o.bytes != NULL);
    memcpy(o.bytes, valid[i].sig, sig_len);
    memcpy(o.bytes + sig_len - hint, data + (size > 2 ? 2 : 0), n < hint ? n : hint);
#else
    o = make(data, size, valid[i].sig, sig_len);
#endif
    for (int path = 0; path < 2; path++) {
        use_path(path);
        const int result =
            qpher_mldsa_verify(valid[i].pk[path], o.bytes, o.length, message, 4, NULL, 0);
        const int same = o.length == sig_len && memcmp(o.bytes, valid[i].sig, sig_len) == 0;
        REQUIRE(result == (same ? QPHER_OK : QPHER_ERR_SIGNATURE));
    }
    free(o.bytes);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int prepared;
    if (!prepared) {
        prepare();
        prepared = 1;
    }
    one(size > 0 ? data[0] % SETS : 0, data, size);
    return 0;
}
