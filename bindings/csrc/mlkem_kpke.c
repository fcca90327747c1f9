/* SPDX-License-Identifier: Apache-2.0 */
/* ML-KEM: K-PKE (FIPS 203 section 5) on opened keys. */
#include "mlkem_kpke.h"

#include "cpu.h"
#include "ct.h"

void mlkem_kpke_secrets(qpher_mlkem_dk *dk, const struct mlkem_noise *noise)
{
    const struct mlkem_unit *unit = qpher_dispatch.mlkem;
    const struct mlkem_params *params = dk->ek.params;
    mlkem_poly p;

    for (unsigned i = 0; i < params->k; i++) {
        mlkem_noise_poly(&p, noise, params, i, params->eta1);
        unit->ntt(&p);
        unit->prepare(&dk->s[i], &p);
    }
    qpher_wipe(&p, sizeof p);
}

void mlkem_kpke_rows(qpher_mlkem_dk *dk, const struct mlkem_noise *noise, unsigned from,
                     unsigned to)
{
    const struct mlkem_unit *unit = qpher_dispatch.mlkem;
    qpher_mlkem_ek *ek = &dk->ek;
    const struct mlkem_params *params = ek->params;
    const unsigned k = params->k;
    mlkem_poly p;

    for (unsigned i = from; i < to; i++) {
        uint8_t *encoded = ek->encoded + i * MLKEM_POLY_BYTES;
        unit->dot(&ek->t[i], ek->a + i * k, 1, dk->s, k);
        mlkem_noise_poly(&p, noise, params, k + i, params->eta1);
        unit->ntt(&p);
        unit->finish(&ek->t[i], &p);
        unit->encode12(encoded, &ek->t[i]);
        QPHER_CT_DECLASSIFY(encoded, MLKEM_POLY_BYTES); /* the public key is public */
        QPHER_CT_DECLASSIFY(&ek->t[i], sizeof ek->t[i]);
    }
    qpher_wipe(&p, sizeof p);
}

void mlkem_kpke_encrypt(uint8_t *ct, const qpher_mlkem_ek *ek, const uint8_t m[MLKEM_SYM_BYTES],
                        const struct mlkem_noise *noise)
{
    const struct mlkem_unit *unit = qpher_dispatch.mlkem;
    const struct mlkem_params *params = ek->params;
    const unsigned k = params->k;
    struct {
        mlkem_factor y[MLKEM_MAX_K];
        mlkem_poly e, u;
    } secret;

    for (unsigned i = 0; i < k; i++) {
        mlkem_noise_poly(&secret.u, noise, params, i, params->eta1);
        unit->ntt(&secret.u);
        unit->prepare(&secret.y[i], &secret.u);
    }
    for (unsigned i = 0; i < k; i++) {
        unit->dot(&secret.u, ek->a + i, k, secret.y, k); /* row i of the transposed matrix */
        unit->intt(&secret.u);
        mlkem_noise_poly(&secret.e, noise, params, k + i, params->eta2);
        unit->compress(ct + i * 32 * params->du, &secret.u, &secret.e, params->du);
    }
    unit->dot(&secret.u, ek->t, 1, secret.y, k);
    unit->intt(&secret.u);
    mlkem_noise_poly(&secret.e, noise, params, 2 * k, params->eta2);
    unit->add_message(&secret.e, m);
    unit->compress(ct + k * 32 * params->du, &secret.u, &secret.e, params->dv);
    qpher_wipe(&secret, sizeof secret);
}

void mlkem_kpke_decrypt(uint8_t m[MLKEM_SYM_BYTES], const qpher_mlkem_dk *dk, const uint8_t *ct)
{
    const struct mlkem_unit *unit = qpher_dispatch.mlkem;
    const struct mlkem_params *params = dk->ek.params;
    const unsigned k = params->k;
    mlkem_poly u[MLKEM_MAX_K], v, w;

    for (unsigned i = 0; i < k; i++) {
        unit->decompress(&u[i], ct + i * 32 * params->du, params->du);
        unit->ntt(&u[i]);
    }
    unit->dot(&w, u, 1, dk->s, k);
    unit->intt(&w);
    unit->decompress(&v, ct + k * 32 * params->du, params->dv);
    unit->get_message(m, &v, &w);
    qpher_wipe(&w, sizeof w);
}
