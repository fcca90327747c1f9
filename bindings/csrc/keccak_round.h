/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds of Keccak-f[1600] (FIPS 202 section 3.3), written once for every register width.
 *
 * A unit defines, then includes this file:
 *   word            a register of one, four or eight 64-bit lanes
 *   XOR(a, b)       a ^ b
 *   XOR5(a,b,c,d,e) a ^ b ^ c ^ d ^ e
 *   ROL(a, n)       rotation to the left, 0 < n < 64
 *   CHI(a, b, c)    a ^ (~b & c)
 *   CONSTANT(x)     the 64-bit constant x in every lane
 * and gets keccak_rounds(a), which permutes the 25 words a[5*y + x] in place. */

#include "keccak_rc.h"

/* One round, from a to e. theta (algorithm 1) adds d[x] to column x; rho and pi (algorithms 2
 * and 3) rotate each word and move it to another place; chi (algorithm 4) works along a row.
 * Each row of e reads five words of a, one per column and per row, that nothing reads again:
 * 25 words, five of d and five of b are all that lives at a time. */
static inline void keccak_round(word e[25], const word a[25], uint64_t rc)
{
    word b0, b1, b2, b3, b4;
    const word c0 = XOR5(a[0], a[5], a[10], a[15], a[20]);
    const word c1 = XOR5(a[1], a[6], a[11], a[16], a[21]);
    const word c2 = XOR5(a[2], a[7], a[12], a[17], a[22]);
    const word c3 = XOR5(a[3], a[8], a[13], a[18], a[23]);
    const word c4 = XOR5(a[4], a[9], a[14], a[19], a[24]);
    /* In this order each c but c2 and c4 dies early: 32 registers suffice, and AVX-512 has them. */
    const word d0 = XOR(c4, ROL(c1, 1));
    const word d2 = XOR(c1, ROL(c3, 1));
    const word d4 = XOR(c3, ROL(c0, 1));
    const word d1 = XOR(c0, ROL(c2, 1));
    const word d3 = XOR(c2, ROL(c4, 1));

    b0 = XOR(a[0], d0);
    b1 = ROL(XOR(a[6], d1), 44);
    b2 = ROL(XOR(a[12], d2), 43);
    b3 = ROL(XOR(a[18], d3), 21);
    b4 = ROL(XOR(a[24], d4), 14);
    e[0] = XOR(CHI(b0, b1, b2), CONSTANT(rc));
    e[1] = CHI(b1, b2, b3);
    e[2] = CHI(b2, b3, b4);
    e[3] = CHI(b3, b4, b0);
    e[4] = CHI(b4, b0, b1);

    b0 = ROL(XOR(a[3], d3), 28);
    b1 = ROL(XOR(a[9], d4), 20);
    b2 = ROL(XOR(a[10], d0), 3);
    b3 = ROL(XOR(a[16], d1), 45);
    b4 = ROL(XOR(a[22], d2), 61);
    e[5] = CHI(b0, b1, b2);
    e[6] = CHI(b1, b2, b3);
    e[7] = CHI(b2, b3, b4);
    e[8] = CHI(b3, b4, b0);
    e[9] = CHI(b4, b0, b1);

    b0 = ROL(XOR(a[1], d1), 1);
    b1 = ROL(XOR(a[7], d2), 6);
    b2 = ROL(XOR(a[13], d3), 25);
    b3 = ROL(XOR(a[19], d4), 8);
    b4 = ROL(XOR(a[20], d0), 18);
    e[10] = CHI(b0, b1, b2);
    e[11] = CHI(b1, b2, b3);
    e[12] = CHI(b2, b3, b4);
    e[13] = CHI(b3, b4, b0);
    e[14] = CHI(b4, b0, b1);

    b0 = ROL(XOR(a[4], d4), 27);
    b1 = ROL(XOR(a[5], d0), 36);
    b2 = ROL(XOR(a[11], d1), 10);
    b3 = ROL(XOR(a[17], d2), 15);
    b4 = ROL(XOR(a[23], d3), 56);
    e[15] = CHI(b0, b1, b2);
    e[16] = CHI(b1, b2, b3);
    e[17] = CHI(b2, b3, b4);
    e[18] = CHI(b3, b4, b0);
    e[19] = CHI(b4, b0, b1);

    b0 = ROL(XOR(a[2], d2), 62);
    b1 = ROL(XOR(a[8], d3), 55);
    b2 = ROL(XOR(a[14], d4), 39);
    b3 = ROL(XOR(a[15], d0), 41);
    b4 = ROL(XOR(a[21], d1), 2);
    e[20] = CHI(b0, b1, b2);
    e[21] = CHI(b1, b2, b3);
    e[22] = CHI(b2, b3, b4);
    e[23] = CHI(b3, b4, b0);
    e[24] = CHI(b4, b0, b1);
}

static inline void keccak_rounds(word a[25])
{
    word e[25];
    for (int i = 0; i < 24; i += 2) {
        keccak_round(e, a, keccak_rc[i]);
        keccak_round(a, e, keccak_rc[i + 1]);
    }
}
