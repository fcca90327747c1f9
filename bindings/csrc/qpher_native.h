/* SPDX-License-Identifier: Apache-2.0 */
/* The native core: ML-KEM (FIPS 203) and ML-DSA (FIPS 204). The one public header.
 *
 * Between "cffi: begin" and "cffi: end" stand the declarations that the Python binding
 * reads, so they use plain C declarators only: no macros with arguments, no attributes.
 *
 * Conventions of every function:
 *   - it returns QPHER_OK (0), a positive count where the comment says so, or a negative QPHER_ERR_*;
 *   - every length is checked before the memory it describes is touched;
 *   - on an error every output is zeroed, or was never written;
 *   - key objects are opaque: the caller gives qpher_*_bytes(set) bytes aligned to
 *     QPHER_ALIGNMENT, and wipes them (qpher_wipe) before it gives them back;
 *   - a null key object is QPHER_ERR_CLOSED: the binding passes null for a closed key;
 *   - inputs and outputs do not overlap unless the comment allows it;
 *   - no function keeps a pointer after it returns, and none locks: one object may be read
 *     by many threads at once and written by one.
 */
#ifndef QPHER_NATIVE_H
#define QPHER_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* ---- common ---------------------------------------------------------------------- */

enum qpher_error {
    QPHER_OK = 0,
    QPHER_ERR_ARGUMENT = -1,  /* null pointer, unknown parameter set, option out of range */
    QPHER_ERR_LENGTH = -2,    /* an input has not the length that its type has */
    QPHER_ERR_KEY = -3,       /* an encoded key fails the checks of its standard */
    QPHER_ERR_CLOSED = -4,    /* the key object is null: it was closed */
    QPHER_ERR_RANDOM = -5,    /* the operating system gave no randomness */
    QPHER_ERR_SIGNATURE = -6, /* the signature is not valid */
    QPHER_ERR_CPU = -7,       /* the CPU lacks the instructions asked for */
    QPHER_ERR_INTERNAL = -8,  /* a self-test or an internal consistency check failed */
    QPHER_ERR_MEMORY = -9     /* no memory from the operating system */
};

#define QPHER_ALIGNMENT 64

/* Code paths, each needing all the instructions of the one before it. */
enum qpher_cpu_path {
    QPHER_CPU_PORTABLE = 0, /* C11 alone */
    QPHER_CPU_AVX2 = 1,     /* AVX2, BMI1, BMI2 */
    QPHER_CPU_AVX512 = 2    /* and AVX-512 F, BW, DQ, VL, VBMI, VBMI2 */
};

/* Chooses the code path: one of enum qpher_cpu_path, or -1 for the best that this CPU has.
 * Returns the path chosen, or QPHER_ERR_CPU. Call it before any other function and never
 * while one runs; without it the portable path is in use. */
int qpher_init(int path);

/* The code path in use, and the best that this CPU has. */
int qpher_cpu_path(void);
int qpher_cpu_best(void);

/* Overwrites n bytes in a way that the compiler may not leave out, and zeroes the vector
 * registers: the last thing that a function on secrets does. */
void qpher_wipe(void *p, size_t n);

/* Fills out from the operating system's generator; blocks until that is seeded. */
int qpher_random(uint8_t *out, size_t n);

/* Maps n bytes (rounded up to whole pages) for key objects: zeroed, page-aligned, between
 * two guard pages, left out of core dumps. If locked is not null the pages are to be locked
 * against swapping, and *locked tells whether the limit of the process allowed it. Returns
 * null when there is no memory. */
void *qpher_map(size_t n, int *locked);

/* Wipes and gives back what qpher_map gave, with the same n. */
void qpher_unmap(void *p, size_t n);

/* SHA3-256, SHA3-512 and SHAKE of FIPS 202, for self-tests and for constructions above. */
int qpher_sha3_256(uint8_t *out, const uint8_t *in, size_t n);
int qpher_sha3_512(uint8_t *out, const uint8_t *in, size_t n);
int qpher_shake128(uint8_t *out, size_t out_len, const uint8_t *in, size_t n);
int qpher_shake256(uint8_t *out, size_t out_len, const uint8_t *in, size_t n);

/* ---- ML-KEM: begin (owned by mlkem.c) --------------------------------------------- */

/* Parameter sets of FIPS 203. Lengths in bytes:
 *              encapsulation key   expanded decapsulation key   ciphertext
 *   ML-KEM-512         800                   1632                  768
 *   ML-KEM-768        1184                   2400                 1088
 *   ML-KEM-1024       1568                   3168                 1568
 * A seed is d || z, 64 bytes; a shared secret has 32 bytes. */
enum qpher_mlkem_set { QPHER_MLKEM_512 = 0, QPHER_MLKEM_768 = 1, QPHER_MLKEM_1024 = 2 };

typedef struct qpher_mlkem_ek qpher_mlkem_ek;
typedef struct qpher_mlkem_dk qpher_mlkem_dk;

/* Sizes of the key objects, and lengths of the encodings (0 for an unknown set). */
size_t qpher_mlkem_ek_bytes(void);
size_t qpher_mlkem_dk_bytes(void);
size_t qpher_mlkem_dk_secret_bytes(void); /* how many of them, from the first on, are secret */
size_t qpher_mlkem_ek_length(int set);
size_t qpher_mlkem_dk_length(int set);
size_t qpher_mlkem_ct_length(int set);

/* Opens a key: fresh, n fresh ones, from its seed, or from its expanded form with the checks of
 * FIPS 203 section 7.3 (QPHER_ERR_KEY). After an error wipe the object before using it again. */
int qpher_mlkem_generate(qpher_mlkem_dk *dk, int set);
int qpher_mlkem_generate_many(qpher_mlkem_dk *const *dks, int set, size_t n);
int qpher_mlkem_from_seed(qpher_mlkem_dk *dk, int set, const uint8_t *seed, size_t seed_len);
int qpher_mlkem_from_expanded(qpher_mlkem_dk *dk, int set, const uint8_t *in, size_t len);

/* Opens an encapsulation key with the modulus check of section 7.2 (QPHER_ERR_KEY). */
int qpher_mlkem_load_ek(qpher_mlkem_ek *ek, int set, const uint8_t *in, size_t len);

/* The encapsulation key inside a decapsulation key, which must outlive it. */
const qpher_mlkem_ek *qpher_mlkem_ek_of(const qpher_mlkem_dk *dk);

/* Encodings. A key that came from its expanded form has no seed (QPHER_ERR_ARGUMENT). */
int qpher_mlkem_encode_ek(const qpher_mlkem_ek *ek, uint8_t *out, size_t len);
int qpher_mlkem_seed(const qpher_mlkem_dk *dk, uint8_t *out, size_t len);
int qpher_mlkem_expanded(const qpher_mlkem_dk *dk, uint8_t *out, size_t len);

/* Encapsulation, with fresh randomness or with the given m of 32 bytes (tests, deterministic
 * encryption). ct has the set's ciphertext length, ss 32 bytes. */
int qpher_mlkem_encapsulate(const qpher_mlkem_ek *ek, uint8_t *ct, uint8_t *ss);
int qpher_mlkem_encapsulate_with(const qpher_mlkem_ek *ek, uint8_t *ct, uint8_t *ss,
                                 const uint8_t *m, size_t m_len);

/* Decapsulation with implicit rejection: a wrong ciphertext gives another secret, no error. */
int qpher_mlkem_decapsulate(const qpher_mlkem_dk *dk, uint8_t *ss, const uint8_t *ct, size_t len);

/* n independent operations, with SIMD lanes shared between them; ciphertexts and secrets stand one
 * after the other. */
int qpher_mlkem_encapsulate_many(const qpher_mlkem_ek *ek, size_t n, uint8_t *cts,
                                 uint8_t *secrets);
int qpher_mlkem_decapsulate_many(const qpher_mlkem_dk *dk, size_t n, uint8_t *secrets,
                                 const uint8_t *cts, size_t len);

/* ---- ML-KEM: end ------------------------------------------------------------------ */

/* ---- ML-DSA: begin (owned by mldsa.c) --------------------------------------------- */

enum qpher_mldsa_set { QPHER_MLDSA_44 = 44, QPHER_MLDSA_65 = 65, QPHER_MLDSA_87 = 87 };

/* Hash functions of HashML-DSA; SHAKE128 gives 32 bytes there and SHAKE256 64. */
enum qpher_mldsa_hash {
    QPHER_MLDSA_SHA256 = 0,
    QPHER_MLDSA_SHA384 = 1,
    QPHER_MLDSA_SHA512 = 2,
    QPHER_MLDSA_SHA3_256 = 3,
    QPHER_MLDSA_SHA3_384 = 4,
    QPHER_MLDSA_SHA3_512 = 5,
    QPHER_MLDSA_SHAKE128 = 6,
    QPHER_MLDSA_SHAKE256 = 7
};

/* An opened signing key (with its public key), an opened public key, a message on its way to mu. */
typedef struct qpher_mldsa_sk qpher_mldsa_sk;
typedef struct qpher_mldsa_pk qpher_mldsa_pk;
typedef struct qpher_mldsa_mu qpher_mldsa_mu;

/* Bytes of these objects, and of the encodings of FIPS 204 table 2; 0 for an unknown set. */
size_t qpher_mldsa_sk_bytes(int set);
size_t qpher_mldsa_pk_bytes(int set);
size_t qpher_mldsa_mu_bytes(void);
size_t qpher_mldsa_expanded_len(int set);
size_t qpher_mldsa_public_key_len(int set);
size_t qpher_mldsa_signature_len(int set);

/* Keys: a fresh one; n of them; one from its 32-byte seed xi; one from the expanded form skEncode, refused
 * with QPHER_ERR_KEY unless its parts belong together. */
int qpher_mldsa_generate(qpher_mldsa_sk *sk, int set);
int qpher_mldsa_generate_many(qpher_mldsa_sk *const *sks, int set, size_t n);
int qpher_mldsa_from_seed(qpher_mldsa_sk *sk, int set, const uint8_t *seed, size_t len);
int qpher_mldsa_from_expanded(qpher_mldsa_sk *sk, int set, const uint8_t *in, size_t len);
int qpher_mldsa_load_public_key(qpher_mldsa_pk *pk, int set, const uint8_t *in, size_t len);

/* Before any of these keys signs or is expanded, once, while no other thread uses it: what making
 * it did not need. A key that is not prepared is QPHER_ERR_ARGUMENT there. */
int qpher_mldsa_prepare(qpher_mldsa_sk *sk);

/* What a key holds. The seed of a key from its expanded form is not known: QPHER_ERR_KEY. */
int qpher_mldsa_public_key(qpher_mldsa_pk *pk, const qpher_mldsa_sk *sk);
int qpher_mldsa_seed(const qpher_mldsa_sk *sk, uint8_t *out, size_t len);
int qpher_mldsa_expanded(const qpher_mldsa_sk *sk, uint8_t *out, size_t len);
int qpher_mldsa_encode(const qpher_mldsa_pk *pk, uint8_t *out, size_t len);

/* Signing. rnd is 32 bytes, all zero for deterministic signatures, or null with length 0: then
 * they come from the operating system (hedged). A context has at most 255 bytes. Candidates of
 * the rejection loop live on the stack, up to 192 KiB of it. */
int qpher_mldsa_sign(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len, const uint8_t *msg,
                     size_t msg_len, const uint8_t *ctx, size_t ctx_len, const uint8_t *rnd,
                     size_t rnd_len);
int qpher_mldsa_sign_mu(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len, const uint8_t *mu,
                        size_t mu_len, const uint8_t *rnd, size_t rnd_len);
int qpher_mldsa_sign_prehash(const qpher_mldsa_sk *sk, uint8_t *sig, size_t sig_len, int hash,
                             const uint8_t *digest, size_t digest_len, const uint8_t *ctx,
                             size_t ctx_len, const uint8_t *rnd, size_t rnd_len);

/* Verification: QPHER_OK, or QPHER_ERR_SIGNATURE for any signature that is not valid, one of
 * another length included. */
int qpher_mldsa_verify(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                       const uint8_t *msg, size_t msg_len, const uint8_t *ctx, size_t ctx_len);
int qpher_mldsa_verify_mu(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                          const uint8_t *mu, size_t mu_len);
int qpher_mldsa_verify_prehash(const qpher_mldsa_pk *pk, const uint8_t *sig, size_t sig_len,
                               int hash, const uint8_t *digest, size_t digest_len,
                               const uint8_t *ctx, size_t ctx_len);

/* mu of a message that comes in parts, for the functions above; h is qpher_mldsa_mu_bytes()
 * aligned bytes. After final only start may follow. */
int qpher_mldsa_mu_start(qpher_mldsa_mu *h, const qpher_mldsa_pk *pk, const uint8_t *ctx,
                         size_t ctx_len);
int qpher_mldsa_mu_update(qpher_mldsa_mu *h, const uint8_t *part, size_t len);
int qpher_mldsa_mu_final(qpher_mldsa_mu *h, uint8_t *mu, size_t mu_len);

/* Many at once, with SIMD lanes shared between them. Messages stand one after the other in msgs,
 * message i being msg_lens[i] bytes, their lengths adding up to msgs_len; signatures likewise,
 * all of one length, in sigs. rnds is n times 32 bytes, or null as above. results[i] becomes 1
 * if signature i is valid, else 0. */
int qpher_mldsa_sign_many(const qpher_mldsa_sk *sk, size_t n, uint8_t *sigs, size_t sigs_len,
                          const uint8_t *msgs, size_t msgs_len, const size_t *msg_lens,
                          const uint8_t *ctx, size_t ctx_len, const uint8_t *rnds,
                          size_t rnds_len);
int qpher_mldsa_verify_many(const qpher_mldsa_pk *pk, size_t n, uint8_t *results,
                            const uint8_t *sigs, size_t sigs_len, const uint8_t *msgs,
                            size_t msgs_len, const size_t *msg_lens, const uint8_t *ctx,
                            size_t ctx_len);

/* ---- ML-DSA: end ------------------------------------------------------------------ */

/* cffi: end */

#endif
