/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer: encapsulation keys, decapsulation keys and ciphertexts of ML-KEM from outside. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SETS = 3 };

static struct {
    qpher_mlkem_dk *dk[2]; /* opened on each path: an opened key belongs to the path it came from */
    uint8_t *ek, *expanded, *ct;
} valid[SETS];

static void prepare(void)
{
    uint8_t seed[64] = {1}, m[32] = {2}, ss[32];
    for (int set = 0; set < SETS; set++) {
        const size_t ek_len = qpher_mlkem_ek_length(set), dk_len = qpher_mlkem_dk_length(set);
        valid[set].ek = fresh(ek_len);
        valid[set].expanded = fresh(dk_len);
        valid[set].ct = fresh(qpher_mlkem_ct_length(set));
        for (int path = 0; path < 2; path++) {
            qpher_mlkem_dk *dk = fresh(qpher_mlkem_dk_bytes());
            use_path(path);
            REQUIRE(qpher_mlkem_from_seed(dk, set, seed, sizeof seed) == 0);
            REQUIRE(qpher_mlkem_encode_ek(qpher_mlkem_ek_of(dk), valid[set].ek, ek_len) == 0);
            REQUIRE(qpher_mlkem_expanded(dk, valid[set].expanded, dk_len) == 0);
            REQUIRE(qpher_mlkem_encapsulate_with(qpher_mlkem_ek_of(dk), valid[set].ct, ss, m,
                                                 sizeof m) == 0);
            valid[set].dk[path] = dk;
        }
    }
}

#if defined(FUZZ_MLKEM_EK)
/* An encapsulation key either is refused or encapsulates, the same on both paths. */
static void one(int set, const uint8_t *data, size_t size)
{
    const size_t ek_len = qpher_mlkem_ek_length(set), ct_len = qpher_mlkem_ct_length(set);
    const object o = make(data, size, valid[set].ek, ek_len);
    qpher_mlkem_ek *ek = fresh(qpher_mlkem_ek_bytes());
    uint8_t *ct[2] = {fresh(ct_len), fresh(ct_len)}, *again = fresh(ek_len);
    uint8_t ss[2][32] = {{0}}, m[32] = {3};
    int result[2];

    for (int path = 0; path < 2; path++) {
        use_path(path);
        memset(ct[path], 0, ct_len);
        result[path] = qpher_mlkem_load_ek(ek, set, o.bytes, o.length);
        if (result[path] == 0) {
            REQUIRE(qpher_mlkem_encode_ek(ek, again, ek_len) == 0);
            REQUIRE(memcmp(again, o.bytes, ek_len) == 0);
            REQUIRE(qpher_mlkem_encapsulate_with(ek, ct[path], ss[path], m, sizeof m) == 0);
        }
    }
    REQUIRE(result[0] == result[1]);
    REQUIRE(memcmp(ct[0], ct[1], ct_len) == 0 && memcmp(ss[0], ss[1], 32) == 0);
    free(ek);
    free(ct[0]);
    free(ct[1]);
    free(again);
    free(o.bytes);
}
#elif defined(FUZZ_MLKEM_DK)
/* An expanded key either is refused or decapsulates, the same on both paths. */
static void one(int set, const uint8_t *data, size_t size)
{
    const size_t dk_len = qpher_mlkem_dk_length(set), ct_len = qpher_mlkem_ct_length(set);
    const object o = make(data, size, valid[set].expanded, dk_len);
    qpher_mlkem_dk *dk = fresh(qpher_mlkem_dk_bytes());
    uint8_t ss[2][32] = {{0}}, *again = fresh(dk_len);
    int result[2];

    for (int path = 0; path < 2; path++) {
        use_path(path);
        result[path] = qpher_mlkem_from_expanded(dk, set, o.bytes, o.length);
        if (result[path] == 0) {
            REQUIRE(qpher_mlkem_expanded(dk, again, dk_len) == 0);
            REQUIRE(qpher_mlkem_decapsulate(dk, ss[path], valid[set].ct, ct_len) == 0);
        }
    }
    REQUIRE(result[0] == result[1]);
    REQUIRE(memcmp(ss[0], ss[1], 32) == 0);
    free(dk);
    free(again);
    free(o.bytes);
}
#else
/* Any ciphertext of the right length gives a secret, the same on both paths. */
static void one(int set, const uint8_t *data, size_t size)
{
    const size_t ct_len = qpher_mlkem_ct_length(set);
    const object o = make(data, size, valid[set].ct, ct_len);
    uint8_t ss[2][32] = {{0}};

    for (int path = 0; path < 2; path++) {
        use_path(path);
        const int result = qpher_mlkem_decapsulate(valid[set].dk[path], ss[path], o.bytes, o.length);
        REQUIRE(result == (o.length == ct_len ? QPHER_OK : QPHER_ERR_LENGTH));
    }
    REQUIRE(memcmp(ss[0], ss[1], 32) == 0);
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
