/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: opening encoded keys, with the checks of FIPS 203 section 7, and encoding opened ones. */
#include "mlkem_key.h"

#include <string.h>

#include "bytes.h"
#include "cpu.h"
#include "ct.h"
#include "mlkem_sample.h"

enum { SYM = MLKEM_SYM_BYTES };

/* Fills in what follows from the encoded key: t, the matrix and H(ek). */
static void expand_ek(qpher_mlkem_ek *ek)
{
    const unsigned k = ek->params->k;
    uint64_t h[25] = {0};
    struct mlkem_queue queue;
    for (unsigned i = 0; i < k; i++)
        qpher_dispatch.mlkem->decode12(&ek->t[i], ek->encoded + i * MLKEM_POLY_BYTES);
    mlkem_pad(ek->encoded, ek->params->ek_len, KECCAK_SUFFIX_SHA3);
    mlkem_queue_start(&queue);
    mlkem_queue_hash(&queue, h, ek->encoded, MLKEM_HASH_BLOCKS(ek->params->ek_len));
    mlkem_queue_matrix(&queue, ek, ek->encoded + k * MLKEM_POLY_BYTES, 0, k * k);
    mlkem_queue_finish(&queue);
    store_words_le(ek->h, h, SYM / 8);
}

/* Section 7.2: every coefficient of an encoded t must be below q. */
static int modulus_check(const mlkem_poly *t, unsigned k)
{
    int16_t any = 0; /* negative if one is not */
    for (unsigned i = 0; i < k; i++)
        for (unsigned j = 0; j < MLKEM_N; j++)
            any |= (int16_t)(MLKEM_Q - 1 - t[i].c[j]);
    return any < 0 ? QPHER_ERR_KEY : QPHER_OK;
}

int qpher_mlkem_load_ek(qpher_mlkem_ek *ek, int set, const uint8_t *in, size_t len)
{
    const struct mlkem_params *params = mlkem_params_of(set);
    if (!ek)
        return QPHER_ERR_CLOSED;
    if (!params || !in)
        return QPHER_ERR_ARGUMENT;
    if (len != params->ek_len)
        return QPHER_ERR_LENGTH;
    ek->params = params;
    memcpy(ek->encoded, in, len);
    expand_ek(ek);
    return modulus_check(ek->t, params->k);
}

int qpher_mlkem_from_expanded(qpher_mlkem_dk *dk, int set, const uint8_t *in, size_t len)
{
    const struct mlkem_unit *unit = qpher_dispatch.mlkem;
    const struct mlkem_params *params = mlkem_params_of(set);
    const size_t s_len = params ? params->k * MLKEM_POLY_BYTES : 0;
    mlkem_poly s;
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!params || !in)
        return QPHER_ERR_ARGUMENT;
    if (len != params->dk_len)
        return QPHER_ERR_LENGTH;
    const int result = qpher_mlkem_load_ek(&dk->ek, set, in + s_len, params->ek_len);
    if (result != QPHER_OK)
        return result;
    for (unsigned i = 0; i < params->k; i++) {
        unit->decode12(&s, in + i * MLKEM_POLY_BYTES); /* below 1.25q, so near */
        unit->prepare(&dk->s[i], &s);
    }
    qpher_wipe(&s, sizeof s);
    memcpy(dk->z, in + len - SYM, SYM);
    memset(dk->d, 0, SYM);
    dk->has_seed = 0;
    /* Section 7.3: the hash that the key carries must be that of its encapsulation key. Both
     * are public. */
    return memcmp(dk->ek.h, in + s_len + params->ek_len, SYM) == 0 ? QPHER_OK : QPHER_ERR_KEY;
}

int qpher_mlkem_seed(const qpher_mlkem_dk *dk, uint8_t *out, size_t len)
{
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!out || !dk->has_seed)
        return QPHER_ERR_ARGUMENT;
    if (len != 2 * SYM)
        return QPHER_ERR_LENGTH;
    memcpy(out, dk->d, SYM);
    memcpy(out + SYM, dk->z, SYM);
    return QPHER_OK;
}

/* The polynomial that was prepared. */
static void restore(mlkem_poly *p, const mlkem_factor *f)
{
    for (unsigned i = 0; i < MLKEM_N; i += 2) {
        p->c[i] = f->odd[i + 1];
        p->c[i + 1] = f->odd[i];
    }
}

int qpher_mlkem_expanded(const qpher_mlkem_dk *dk, uint8_t *out, size_t len)
{
    const struct mlkem_unit *unit = qpher_dispatch.mlkem;
    mlkem_poly s;
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!out)
        return QPHER_ERR_ARGUMENT;
    const struct mlkem_params *params = dk->ek.params;
    if (len != params->dk_len)
        return QPHER_ERR_LENGTH;
    /* Algorithm 16 line 4: dk = dk_PKE || ek || H(ek) || z */
    for (unsigned i = 0; i < params->k; i++) {
        restore(&s, &dk->s[i]);
        unit->canonical(&s);
        unit->encode12(out + i * MLKEM_POLY_BYTES, &s);
    }
    qpher_wipe(&s, sizeof s);
    out += params->k * MLKEM_POLY_BYTES;
    memcpy(out, dk->ek.encoded, params->ek_len);
    memcpy(out + params->ek_len, dk->ek.h, SYM);
    memcpy(out + params->ek_len + SYM, dk->z, SYM);
    return QPHER_OK;
}

int qpher_mlkem_encode_ek(const qpher_mlkem_ek *ek, uint8_t *out, size_t len)
{
    if (!ek)
        return QPHER_ERR_CLOSED;
    if (!out)
        return QPHER_ERR_ARGUMENT;
    if (len != ek->params->ek_len)
        return QPHER_ERR_LENGTH;
    memcpy(out, ek->encoded, len);
    return QPHER_OK;
}
