/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM (FIPS 203): K-PKE and the KEM, on opened keys. */
#include <string.h>

#include "ct.h"
#include "keccak.h"
#include "mlkem_poly.h"
#include "qpher_native.h"

/* FIPS 203 Table 2; lengths from Table 3. */
static const struct mlkem_params sets[] = {
    [QPHER_MLKEM_512] = {2, 3, 2, 10, 4, 800, 1632, 768},
    [QPHER_MLKEM_768] = {3, 2, 2, 10, 4, 1184, 2400, 1088},
    [QPHER_MLKEM_1024] = {4, 2, 2, 11, 5, 1568, 3168, 1568},
};

enum { SYM = MLKEM_SYM_BYTES };

/* An opened encapsulation key: what can be computed before an encapsulation is. */
struct qpher_mlkem_ek {
    mlkem_poly a[MLKEM_MAX_K * MLKEM_MAX_K]; /* matrix, canonical; row i, column j at i * k + j */
    mlkem_poly t[MLKEM_MAX_K];               /* canonical, NTT domain */
    uint8_t h[SYM];                          /* H(ek) */
    uint8_t encoded[MLKEM_MAX_EK];
    const struct mlkem_params *params;
};

/* An opened decapsulation key. */
struct qpher_mlkem_dk {
    struct qpher_mlkem_ek ek;
    mlkem_poly s[MLKEM_MAX_K]; /* canonical, NTT domain */
    uint8_t d[SYM], z[SYM];
    int has_seed; /* d is known: the key did not come from its expanded form */
};

static const struct mlkem_params *find(int set)
{
    if (set < 0 || (size_t)set >= sizeof sets / sizeof sets[0])
        return NULL;
    return &sets[set];
}

size_t qpher_mlkem_ek_bytes(void) { return sizeof(struct qpher_mlkem_ek); }
size_t qpher_mlkem_dk_bytes(void) { return sizeof(struct qpher_mlkem_dk); }

size_t qpher_mlkem_ek_length(int set) { return find(set) ? find(set)->ek_len : 0; }
size_t qpher_mlkem_dk_length(int set) { return find(set) ? find(set)->dk_len : 0; }
size_t qpher_mlkem_ct_length(int set) { return find(set) ? find(set)->ct_len : 0; }

/* ---- K-PKE (section 5) -------------------------------------------------------------- */

/* Fills in what follows from the encoded key: t, the matrix and H(ek). */
static void expand_ek(qpher_mlkem_ek *ek)
{
    const unsigned k = ek->params->k;
    for (unsigned i = 0; i < k; i++)
        mlkem_decode12(&ek->t[i], ek->encoded + i * MLKEM_POLY_BYTES);
    mlkem_sample_matrix(ek->a, ek->encoded + k * MLKEM_POLY_BYTES, k);
    sha3_256(ek->h, ek->encoded, ek->params->ek_len);
}

/* Algorithm 13, K-PKE.KeyGen(d), into an opened key. */
static void kpke_keygen(qpher_mlkem_dk *dk)
{
    qpher_mlkem_ek *ek = &dk->ek;
    const unsigned k = ek->params->k;
    uint8_t input[SYM + 1], rho_sigma[2 * SYM];
    mlkem_poly e[MLKEM_MAX_K], *noise[2 * MLKEM_MAX_K];

    memcpy(input, dk->d, SYM);
    input[SYM] = (uint8_t)k;
    sha3_512(rho_sigma, input, sizeof input);
    memcpy(ek->encoded + k * MLKEM_POLY_BYTES, rho_sigma, SYM);
    QPHER_CT_DECLASSIFY(ek->encoded + k * MLKEM_POLY_BYTES, SYM); /* rho is part of the public key */
    mlkem_sample_matrix(ek->a, ek->encoded + k * MLKEM_POLY_BYTES, k);
    for (unsigned i = 0; i < k; i++) {
        noise[i] = &dk->s[i];
        noise[k + i] = &e[i];
    }
    mlkem_sample_noise(noise, 2 * k, ek->params->eta1, rho_sigma + SYM, 0);
    for (unsigned i = 0; i < k; i++) {
        mlkem_ntt(&dk->s[i]);
        mlkem_ntt(&e[i]);
    }
    for (unsigned i = 0; i < k; i++) {
        mlkem_dot(&ek->t[i], ek->a + i * k, 1, dk->s, k);
        mlkem_to_mont(&ek->t[i]);
        mlkem_add(&ek->t[i], &e[i]); /* bounded by 2q */
        mlkem_canonical(&ek->t[i]);
        mlkem_canonical(&dk->s[i]);
        mlkem_encode12(ek->encoded + i * MLKEM_POLY_BYTES, &ek->t[i]);
    }
    QPHER_CT_DECLASSIFY(ek->encoded, ek->params->ek_len); /* the public key is public */
    QPHER_CT_DECLASSIFY(ek->t, sizeof ek->t);
    sha3_256(ek->h, ek->encoded, ek->params->ek_len);
    qpher_wipe(input, sizeof input);
    qpher_wipe(rho_sigma, sizeof rho_sigma);
    qpher_wipe(e, sizeof e);
}

/* Algorithm 14, K-PKE.Encrypt(ek, m, r). */
static void kpke_encrypt(uint8_t *ct, const qpher_mlkem_ek *ek, const uint8_t m[SYM],
                         const uint8_t r[SYM])
{
    const struct mlkem_params *params = ek->params;
    const unsigned k = params->k;
    mlkem_poly y[MLKEM_MAX_K], e1[MLKEM_MAX_K], e2, u, v, mu;
    mlkem_poly *noise[2 * MLKEM_MAX_K + 1];

    for (unsigned i = 0; i < k; i++) {
        noise[i] = &y[i];
        noise[k + i] = &e1[i];
    }
    noise[2 * k] = &e2;
    if (params->eta1 == params->eta2 && 2 * k + 1 <= KECCAK_MAX_LANES) {
        mlkem_sample_noise(noise, 2 * k + 1, params->eta1, r, 0);
    } else {
        mlkem_sample_noise(noise, k, params->eta1, r, 0);
        mlkem_sample_noise(noise + k, k + 1, params->eta2, r, (uint8_t)k);
    }
    for (unsigned i = 0; i < k; i++)
        mlkem_ntt(&y[i]);
    for (unsigned i = 0; i < k; i++) {
        mlkem_dot(&u, ek->a + i, k, y, k); /* row i of the transposed matrix */
        mlkem_inv_ntt(&u);
        mlkem_add(&u, &e1[i]);
        mlkem_canonical(&u);
        mlkem_compress(ct + i * 32 * params->du, &u, params->du);
    }
    mlkem_dot(&v, ek->t, 1, y, k);
    mlkem_inv_ntt(&v);
    mlkem_decompress(&mu, m, 1);
    mlkem_add(&v, &e2);
    mlkem_add(&v, &mu); /* bounded by 2q + 4 */
    mlkem_canonical(&v);
    mlkem_compress(ct + k * 32 * params->du, &v, params->dv);
    qpher_wipe(y, sizeof y);
    qpher_wipe(e1, sizeof e1);
    qpher_wipe(&e2, sizeof e2);
    qpher_wipe(&u, sizeof u);
    qpher_wipe(&v, sizeof v);
    qpher_wipe(&mu, sizeof mu);
}

/* Algorithm 15, K-PKE.Decrypt(dk, c). */
static void kpke_decrypt(uint8_t m[SYM], const qpher_mlkem_dk *dk, const uint8_t *ct)
{
    const struct mlkem_params *params = dk->ek.params;
    const unsigned k = params->k;
    mlkem_poly u[MLKEM_MAX_K], v, w;

    for (unsigned i = 0; i < k; i++) {
        mlkem_decompress(&u[i], ct + i * 32 * params->du, params->du);
        mlkem_ntt(&u[i]);
    }
    mlkem_decompress(&v, ct + k * 32 * params->du, params->dv);
    mlkem_dot(&w, dk->s, 1, u, k);
    mlkem_inv_ntt(&w);
    mlkem_sub(&v, &w); /* bounded by 2q */
    mlkem_canonical(&v);
    mlkem_compress(m, &v, 1);
    qpher_wipe(&v, sizeof v);
    qpher_wipe(&w, sizeof w);
}

/* ---- ML-KEM (sections 6 and 7) ------------------------------------------------------- */

int qpher_mlkem_from_seed(qpher_mlkem_dk *dk, int set, const uint8_t *seed, size_t seed_len)
{
    const struct mlkem_params *params = find(set);
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!params || !seed)
        return QPHER_ERR_ARGUMENT;
    if (seed_len != 2 * SYM)
        return QPHER_ERR_LENGTH;
    dk->ek.params = params;
    dk->has_seed = 1;
    memcpy(dk->d, seed, SYM);
    memcpy(dk->z, seed + SYM, SYM);
    QPHER_CT_POISON(dk->d, SYM);
    QPHER_CT_POISON(dk->z, SYM);
    kpke_keygen(dk); /* Algorithm 16, ML-KEM.KeyGen_internal */
    return QPHER_OK;
}

int qpher_mlkem_generate(qpher_mlkem_dk *dk, int set)
{
    uint8_t seed[2 * SYM];
    int result = qpher_random(seed, sizeof seed);
    if (result == QPHER_OK) /* Algorithm 19, ML-KEM.KeyGen */
        result = qpher_mlkem_from_seed(dk, set, seed, sizeof seed);
    qpher_wipe(seed, sizeof seed);
    return result;
}

/* Section 7.2: every coefficient of an encoded t must be below q. */
static int modulus_check(const mlkem_poly *t, unsigned k)
{
    for (unsigned i = 0; i < k; i++)
        for (unsigned j = 0; j < MLKEM_N; j++)
            if (t[i].c[j] >= MLKEM_Q)
                return QPHER_ERR_KEY;
    return QPHER_OK;
}

int qpher_mlkem_load_ek(qpher_mlkem_ek *ek, int set, const uint8_t *in, size_t len)
{
    const struct mlkem_params *params = find(set);
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
    const struct mlkem_params *params = find(set);
    const size_t s_len = params ? params->k * MLKEM_POLY_BYTES : 0;
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!params || !in)
        return QPHER_ERR_ARGUMENT;
    if (len != params->dk_len)
        return QPHER_ERR_LENGTH;
    int result = qpher_mlkem_load_ek(&dk->ek, set, in + s_len, params->ek_len);
    if (result != QPHER_OK)
        return result;
    for (unsigned i = 0; i < params->k; i++) {
        mlkem_decode12(&dk->s[i], in + i * MLKEM_POLY_BYTES);
        mlkem_canonical(&dk->s[i]); /* ByteDecode_12 reduces modulo q */
    }
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

int qpher_mlkem_expanded(const qpher_mlkem_dk *dk, uint8_t *out, size_t len)
{
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!out)
        return QPHER_ERR_ARGUMENT;
    const struct mlkem_params *params = dk->ek.params;
    if (len != params->dk_len)
        return QPHER_ERR_LENGTH;
    /* Algorithm 16 line 4: dk = dk_PKE || ek || H(ek) || z */
    for (unsigned i = 0; i < params->k; i++)
        mlkem_encode12(out + i * MLKEM_POLY_BYTES, &dk->s[i]);
    out += params->k * MLKEM_POLY_BYTES;
    memcpy(out, dk->ek.encoded, params->ek_len);
    memcpy(out + params->ek_len, dk->ek.h, SYM);
    memcpy(out + params->ek_len + SYM, dk->z, SYM);
    return QPHER_OK;
}

const qpher_mlkem_ek *qpher_mlkem_ek_of(const qpher_mlkem_dk *dk) { return dk ? &dk->ek : NULL; }

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

int qpher_mlkem_encapsulate_with(const qpher_mlkem_ek *ek, uint8_t *ct, uint8_t *ss,
                                 const uint8_t *m, size_t m_len)
{
    uint8_t input[2 * SYM], secret_r[2 * SYM];
    if (!ek)
        return QPHER_ERR_CLOSED;
    if (!ct || !ss || !m)
        return QPHER_ERR_ARGUMENT;
    if (m_len != SYM)
        return QPHER_ERR_LENGTH;
    /* Algorithm 17, ML-KEM.Encaps_internal */
    memcpy(input, m, SYM);
    QPHER_CT_POISON(input, SYM);
    memcpy(input + SYM, ek->h, SYM);
    sha3_512(secret_r, input, sizeof input);
    kpke_encrypt(ct, ek, input, secret_r + SYM);
    memcpy(ss, secret_r, SYM);
    QPHER_CT_DECLASSIFY(ct, ek->params->ct_len); /* the ciphertext is public, */
    QPHER_CT_DECLASSIFY(ss, SYM);                /* and the secret is the caller's now */
    qpher_wipe(input, sizeof input);
    qpher_wipe(secret_r, sizeof secret_r);
    return QPHER_OK;
}

int qpher_mlkem_encapsulate(const qpher_mlkem_ek *ek, uint8_t *ct, uint8_t *ss)
{
    uint8_t m[SYM];
    int result = qpher_random(m, sizeof m);
    if (result == QPHER_OK) /* Algorithm 20, ML-KEM.Encaps */
        result = qpher_mlkem_encapsulate_with(ek, ct, ss, m, sizeof m);
    qpher_wipe(m, sizeof m);
    return result;
}

int qpher_mlkem_decapsulate(const qpher_mlkem_dk *dk, uint8_t *ss, const uint8_t *ct, size_t len)
{
    uint8_t input[2 * SYM], secret_r[2 * SYM], rejected[SYM], again[MLKEM_MAX_CT];
    keccak_sponge sponge;
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (!ss || !ct)
        return QPHER_ERR_ARGUMENT;
    if (len != dk->ek.params->ct_len)
        return QPHER_ERR_LENGTH;
    /* Algorithm 18, ML-KEM.Decaps_internal */
    kpke_decrypt(input, dk, ct);
    memcpy(input + SYM, dk->ek.h, SYM);
    sha3_512(secret_r, input, sizeof input);
    shake256_init(&sponge); /* J(z || c) */
    shake_absorb(&sponge, dk->z, SYM);
    shake_absorb(&sponge, ct, len);
    shake_finalize(&sponge);
    shake_squeeze(&sponge, rejected, SYM);
    kpke_encrypt(again, &dk->ek, input, secret_r + SYM);
    ct_copy_if(ct_mask_differ(ct, again, len), secret_r, rejected, SYM);
    memcpy(ss, secret_r, SYM);
    QPHER_CT_DECLASSIFY(ss, SYM); /* the secret is the caller's now */
    qpher_wipe(input, sizeof input);
    qpher_wipe(secret_r, sizeof secret_r);
    qpher_wipe(rejected, sizeof rejected);
    qpher_wipe(again, sizeof again);
    keccak_sponge_wipe(&sponge);
    return QPHER_OK;
}

/* ---- many at once -------------------------------------------------------------------- */

int qpher_mlkem_encapsulate_many(const qpher_mlkem_ek *ek, size_t n, uint8_t *cts, uint8_t *secrets)
{
    int result = ek ? QPHER_OK : QPHER_ERR_CLOSED;
    for (size_t i = 0; i < n && result == QPHER_OK; i++)
        result = qpher_mlkem_encapsulate(ek, cts + i * ek->params->ct_len, secrets + i * SYM);
    return result;
}

int qpher_mlkem_decapsulate_many(const qpher_mlkem_dk *dk, size_t n, uint8_t *secrets,
                                 const uint8_t *cts, size_t len)
{
    if (!dk)
        return QPHER_ERR_CLOSED;
    if (len != n * dk->ek.params->ct_len)
        return QPHER_ERR_LENGTH;
    int result = QPHER_OK;
    const size_t ct_len = dk->ek.params->ct_len;
    for (size_t i = 0; i < n && result == QPHER_OK; i++)
        result = qpher_mlkem_decapsulate(dk, secrets + i * SYM, cts + i * ct_len, ct_len);
    return result;
}
