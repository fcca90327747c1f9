/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of ML-KEM (FIPS 203 section 7): every argument is checked first. */
#include <string.h>

#include "ct.h"
#include "mlkem_kem.h"
#include "qpher_native.h"

enum { SYM = MLKEM_SYM_BYTES };

/* FIPS 203 Table 2; lengths from Table 3. */
static const struct mlkem_params sets[] = {
    [QPHER_MLKEM_512] = {2, 3, 2, 10, 4, 800, 1632, 768},
    [QPHER_MLKEM_768] = {3, 2, 2, 10, 4, 1184, 2400, 1088},
    [QPHER_MLKEM_1024] = {4, 2, 2, 11, 5, 1568, 3168, 1568},
};

const struct mlkem_params *mlkem_params_of(int set)
{
    if (set < 0 || (size_t)set >= sizeof sets / sizeof sets[0])
        return NULL;
    return &sets[set];
}

size_t qpher_mlkem_ek_bytes(void) { return sizeof(struct qpher_mlkem_ek); }
size_t qpher_mlkem_dk_bytes(void) { return sizeof(struct qpher_mlkem_dk); }
size_t qpher_mlkem_dk_secret_bytes(void) { return offsetof(struct qpher_mlkem_dk, ek); }

size_t qpher_mlkem_ek_length(int set)
{
    return mlkem_params_of(set) ? mlkem_params_of(set)->ek_len : 0;
}

size_t qpher_mlkem_dk_length(int set)
{
    return mlkem_params_of(set) ? mlkem_params_of(set)->dk_len : 0;
}

size_t qpher_mlkem_ct_length(int set)
{
    return mlkem_params_of(set) ? mlkem_params_of(set)->ct_len : 0;
}

const qpher_mlkem_ek *qpher_mlkem_ek_of(const qpher_mlkem_dk *dk) { return dk ? &dk->ek : NULL; }

/* How many items of a batch get their randomness in one request. */
enum { DRAW = 8 * MLKEM_BATCH };

static unsigned at_most(size_t n, unsigned most)
{
    return n < most ? (unsigned)n : most;
}

/* ---- Key generation ---------------------------------------------------------------------------- */

/* Keys from n <= MLKEM_BATCH seeds d || z. */
static void open_seeds(qpher_mlkem_dk *const dks[], const struct mlkem_params *params, unsigned n,
                       const uint8_t *seeds)
{
    for (unsigned i = 0; i < n; i++) {
        qpher_mlkem_dk *dk = dks[i];
        dk->ek.params = params;
        dk->has_seed = 1;
        memcpy(dk->d, seeds + i * 2 * SYM, SYM);
        memcpy(dk->z, seeds + i * 2 * SYM + SYM, SYM);
        QPHER_CT_POISON(dk->d, SYM);
        QPHER_CT_POISON(dk->z, SYM);
    }
    mlkem_keygen(dks, n);
}

int qpher_mlkem_from_seed(qpher_mlkem_dk *dk, int set, const uint8_t *seed, size_t seed_len)
{
    const struct mlkem_params *params = mlkem_params_of(set);
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!params || !seed)
        return QPHER_ERR_ARGUMENT;
    if (seed_len != 2 * SYM)
        return QPHER_ERR_LENGTH;
    open_seeds(&dk, params, 1, seed);
    return QPHER_OK;
}

int qpher_mlkem_generate(qpher_mlkem_dk *dk, int set)
{
    if (!dk)
        return QPHER_ERR_CLOSED;
    return qpher_mlkem_generate_many(&dk, set, 1);
}

/* Algorithm 19, ML-KEM.KeyGen. */
int qpher_mlkem_generate_many(qpher_mlkem_dk *const *dks, int set, size_t n)
{
    const struct mlkem_params *params = mlkem_params_of(set);
    uint8_t seeds[DRAW * 2 * SYM];
    int result = QPHER_OK;
    if (!params || (!dks && n > 0))
        return QPHER_ERR_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        if (!dks[i])
            return QPHER_ERR_CLOSED;
    for (size_t done = 0; done < n && result == QPHER_OK; done += MLKEM_BATCH) {
        uint8_t *seed = seeds + done % DRAW * 2 * SYM;
        if (seed == seeds)
            result = qpher_random(seeds, at_most(n - done, DRAW) * 2 * SYM);
        if (result == QPHER_OK)
            open_seeds(dks + done, params, at_most(n - done, MLKEM_BATCH), seed);
    }
    qpher_wipe(seeds, at_most(n, DRAW) * 2 * SYM);
    return result;
}

/* ---- Encapsulation ----------------------------------------------------------------------------- */

int qpher_mlkem_encapsulate_with(const qpher_mlkem_ek *ek, uint8_t *ct, uint8_t *ss,
                                 const uint8_t *m, size_t m_len)
{
    if (!ek)
        return QPHER_ERR_CLOSED;
    if (!ct || !ss || !m)
        return QPHER_ERR_ARGUMENT;
    if (m_len != SYM)
        return QPHER_ERR_LENGTH;
    mlkem_encapsulate(ek, 1, ct, ss, m);
    return QPHER_OK;
}

int qpher_mlkem_encapsulate(const qpher_mlkem_ek *ek, uint8_t *ct, uint8_t *ss)
{
    return qpher_mlkem_encapsulate_many(ek, 1, ct, ss);
}

/* Algorithm 20, ML-KEM.Encaps. */
int qpher_mlkem_encapsulate_many(const qpher_mlkem_ek *ek, size_t n, uint8_t *cts, uint8_t *secrets)
{
    uint8_t ms[DRAW * SYM];
    int result = QPHER_OK;
    if (!ek)
        return QPHER_ERR_CLOSED;
    if ((!cts || !secrets) && n > 0)
        return QPHER_ERR_ARGUMENT;
    for (size_t done = 0; done < n && result == QPHER_OK; done += MLKEM_BATCH) {
        uint8_t *m = ms + done % DRAW * SYM;
        if (m == ms)
            result = qpher_random(ms, at_most(n - done, DRAW) * SYM);
        if (result == QPHER_OK)
            mlkem_encapsulate(ek, at_most(n - done, MLKEM_BATCH), cts + done * ek->params->ct_len,
                              secrets + done * SYM, m);
    }
    qpher_wipe(ms, at_most(n, DRAW) * SYM);
    if (result != QPHER_OK) {
        qpher_wipe(cts, n * ek->params->ct_len);
        qpher_wipe(secrets, n * SYM);
    }
    return result;
}

/* ---- Decapsulation ----------------------------------------------------------------------------- */

int qpher_mlkem_decapsulate(const qpher_mlkem_dk *dk, uint8_t *ss, const uint8_t *ct, size_t len)
{
    return qpher_mlkem_decapsulate_many(dk, 1, ss, ct, len);
}

/* Algorithm 21, ML-KEM.Decaps. */
int qpher_mlkem_decapsulate_many(const qpher_mlkem_dk *dk, size_t n, uint8_t *secrets,
                                 const uint8_t *cts, size_t len)
{
    if (!dk)
        return QPHER_ERR_CLOSED;
    if ((!secrets || !cts) && n > 0)
        return QPHER_ERR_ARGUMENT;
    const size_t ct_len = dk->ek.params->ct_len;
    if (n > len || len != n * ct_len) /* n <= len: no object is so long that this overflows */
        return QPHER_ERR_LENGTH;
    for (size_t done = 0; done < n; done += MLKEM_BATCH) {
        mlkem_decapsulate(dk, at_most(n - done, MLKEM_BATCH), secrets + done * SYM,
                          cts + done * ct_len);
    }
    return QPHER_OK;
}
