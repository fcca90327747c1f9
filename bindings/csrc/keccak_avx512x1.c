/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] on one state with AVX-512: five registers of five words, no transposition.
 *
 * Instead of moving the words into place after pi, each round lets the registers take another
 * shape. In shape (a, b), register i holds at position c the word of column x = c and row
 * y = a*c + b*i (all modulo 5); shape (0, 1) is the natural one, a register per row. theta sums
 * the registers whatever a and b are, since each position belongs to one column.
 *
 * pi moves the word (x, y) to (y, 2x + 3y), and chi needs three neighbours of a row. In every
 * shape the neighbours of all words of a register lie in one other register; so three permuted
 * registers and one three-way operation make a register of the next shape:
 *
 *   (0, b) -> columns -> (3, 2b) -> (2, 2b) -> (4, 3b) -> (1, b) -> (0, 3b)
 *
 * "columns" is the one shape of another kind: register i holds column x = b*i, position c row c.
 * Six rounds lead back to rows, and 24 are four times six. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif

#include <immintrin.h>

#include "keccak.h"
#include "keccak_rc.h"

typedef __m512i word5; /* five words of the state; nothing depends on the other three */

#define XOR(a, b) _mm512_xor_si512(a, b)
#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define CHI(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0xd2)

/* The shapes, by a, in the order of the rounds. */
enum { ROWS, COLUMNS, SKEW_3, SKEW_2, SKEW_4, SKEW_1, SHAPES };

/* rho (FIPS 202, algorithm 2) in each shape, for b = 1, 1, 2, 2, 3, 1. */
static const _Alignas(64) uint64_t rho[SHAPES][5][8] = {
    [ROWS] = {{0, 1, 62, 28, 27}, {36, 44, 6, 55, 20},
              {3, 10, 43, 25, 39}, {41, 45, 15, 21, 8},
              {18, 2, 61, 56, 14}},
    [COLUMNS] = {{0, 36, 3, 41, 18}, {1, 44, 10, 45, 2},
                 {62, 6, 43, 15, 61}, {28, 55, 25, 21, 56},
                 {27, 20, 39, 8, 14}},
    [SKEW_3] = {{0, 45, 6, 56, 39}, {3, 1, 15, 55, 14},
                {18, 10, 62, 21, 20}, {36, 2, 43, 28, 8},
                {41, 44, 61, 25, 27}},
    [SKEW_2] = {{0, 10, 61, 55, 8}, {3, 2, 6, 21, 27},
                {18, 44, 15, 28, 39}, {36, 45, 62, 25, 14},
                {41, 1, 43, 56, 20}},
    [SKEW_4] = {{0, 2, 15, 25, 20}, {41, 10, 6, 28, 14},
                {36, 1, 61, 21, 39}, {18, 45, 43, 55, 27},
                {3, 44, 62, 56, 8}},
    [SKEW_1] = {{0, 44, 43, 21, 14}, {36, 10, 15, 56, 27},
                {3, 45, 61, 28, 20}, {41, 2, 62, 55, 39},
                {18, 1, 6, 25, 8}},
};

/* Position p of a permuted register comes from position m*p + k: source[m - 1][k][p]. */
#define POSITIONS(m, k)                                                                          \
    {(k) % 5, ((m) + (k)) % 5, (2 * (m) + (k)) % 5, (3 * (m) + (k)) % 5, (4 * (m) + (k)) % 5}
#define SHIFTS(m)                                                                                \
    {POSITIONS(m, 0), POSITIONS(m, 1), POSITIONS(m, 2), POSITIONS(m, 3), POSITIONS(m, 4)}
static const _Alignas(64) uint64_t source[4][5][8] = {SHIFTS(1), SHIFTS(2), SHIFTS(3), SHIFTS(4)};

/* m and k are constants wherever this is inlined. */
static inline word5 permuted(word5 r, int m, int k)
{
    if (m == 1 && k % 5 == 0)
        return r;
    return _mm512_permutexvar_epi64(_mm512_load_si512(source[m - 1][k % 5]), r);
}

/* theta (algorithm 1) where each position belongs to one column. */
static inline void theta(word5 r[5])
{
    const word5 c = XOR3(XOR3(r[1], r[2], r[3]), r[4], r[0]);
    const word5 left = permuted(c, 1, 4);
    const word5 right = permuted(_mm512_rol_epi64(c, 1), 1, 1);
    for (int i = 0; i < 5; i++)
        r[i] = XOR3(r[i], left, right);
}

/* theta where each register is a column: its sum comes to stand in every position. */
static inline void theta_columns(word5 r[5])
{
    word5 c[5];
    for (int i = 0; i < 5; i++) {
        const word5 pair = XOR(r[i], permuted(r[i], 1, 1));
        c[i] = XOR3(pair, permuted(pair, 1, 2), permuted(r[i], 1, 4));
    }
    for (int i = 0; i < 5; i++)
        r[i] = XOR3(r[i], c[(i + 4) % 5], _mm512_rol_epi64(c[(i + 1) % 5], 1));
}

/* rho, pi, chi and iota. The neighbour at distance o of every word of register i of the new shape
 * is in register j = i + s*o of the old one, at position m*p + u*o + v*j. */
static inline void rho_pi_chi_iota(word5 r[5], int shape, int m, int s, int u, int v, uint64_t rc)
{
    word5 e[5];
    for (int i = 0; i < 5; i++)
        r[i] = _mm512_rolv_epi64(r[i], _mm512_load_si512(rho[shape][i]));
    for (int i = 0; i < 5; i++) {
        const int j = (i + s) % 5, k = (i + 2 * s) % 5;
        e[i] = CHI(permuted(r[i], m, v * i), permuted(r[j], m, u + v * j),
                   permuted(r[k], m, 2 * u + v * k));
    }
    /* Every shape has the word (0, 0) at position 0 of register 0. */
    r[0] = _mm512_mask_xor_epi64(e[0], 1, e[0], _mm512_set1_epi64((long long)rc));
    for (int i = 1; i < 5; i++)
        r[i] = e[i];
}

void keccak_f1600_avx512(uint64_t s[25])
{
    const __mmask8 five = 0x1f;
    word5 r[5], t;
    for (int y = 0; y < 5; y++)
        r[y] = _mm512_maskz_loadu_epi64(five, s + 5 * y);
    for (int n = 0; n < 24; n += 6) {
        theta(r);
        rho_pi_chi_iota(r, ROWS, 3, 1, 0, 1, keccak_rc[n]);
        theta_columns(r);
        rho_pi_chi_iota(r, COLUMNS, 1, 1, 1, 0, keccak_rc[n + 1]);
        theta(r);
        rho_pi_chi_iota(r, SKEW_3, 2, 4, 2, 1, keccak_rc[n + 2]);
        theta(r);
        rho_pi_chi_iota(r, SKEW_2, 3, 2, 3, 4, keccak_rc[n + 3]);
        theta(r);
        rho_pi_chi_iota(r, SKEW_4, 4, 4, 4, 3, keccak_rc[n + 4]);
        theta(r);
        rho_pi_chi_iota(r, SKEW_1, 1, 0, 1, 4, keccak_rc[n + 5]);
        /* Shape (0, 3): register i is row 3*i. */
        t = r[1];
        r[1] = r[2];
        r[2] = r[4];
        r[4] = r[3];
        r[3] = t;
    }
    for (int y = 0; y < 5; y++)
        _mm512_mask_storeu_epi64(s + 5 * y, five, r[y]);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int keccak_avx512x1_is_empty; /* a translation unit needs a declaration */
#endif
