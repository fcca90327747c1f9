/* SPDX-License-Identifier: Apache-2.0 */
/* Keccak-f[1600] (FIPS 202 section 3.3) in the 32 registers of AVX-512, at any of their widths.
 *
 * The state, theta's five sums and two copies for chi are 32 words, so nothing has to leave the
 * registers; compilers do not find that allocation, and their spills cost a quarter of the time.
 * Hence assembly. Words stand in registers 0 to 24, and each round puts a new word where one of
 * its row's was: word 5*y + x into the place of the one that pi brings there. After two rounds the
 * words move back to their own registers, by moves that renaming makes free.
 *
 * A unit defines, then includes this file:
 *   STATES            how many of them, as word n of state j is s[STATES*n + j]
 *   REGISTER(n)       the name of register n, "%%zmm" #n for eight states
 *   BROADCAST         "%{1to8%}", a 64-bit constant in memory to each state
 *   LOAD(n), STORE(n) the instructions for word n, of the state at %0
 * and gets keccak_f1600_here(s). */

#include <stdint.h>

#include "keccak_rc.h"

#define LINE "\n\t"
#define MOVE(to, from) "vmovdqa64 " REGISTER(from) ", " REGISTER(to) LINE
#define ADD(to, x) "vpxorq " REGISTER(x) ", " REGISTER(to) ", " REGISTER(to) LINE
#define ADD_TWO(to, x, y) "vpternlogq $0x96, " REGISTER(y) ", " REGISTER(x) ", " REGISTER(to) LINE
#define ROTATED(to, x, n) "vprolq $" #n ", " REGISTER(x) ", " REGISTER(to) LINE
/* to ^= ~x & y */
#define ADD_AND_NOT(to, x, y)                                                                    \
    "vpternlogq $0xd2, " REGISTER(y) ", " REGISTER(x) ", " REGISTER(to) LINE

/* theta (algorithm 1): the sums of the columns are in 25 to 29; then what is added to each of them
 * is in 30 and 25 to 28. */
#define COLUMN(to, a, b, c, d, e) MOVE(to, a) ADD_TWO(to, b, c) ADD_TWO(to, d, e)
#define THETA                                                                                    \
    ROTATED(30, 26, 1) ADD(30, 29) ROTATED(31, 28, 1) ADD(26, 31) ROTATED(31, 25, 1) ADD(28, 31) \
        ROTATED(31, 27, 1) ADD(25, 31) ROTATED(31, 29, 1) ADD(27, 31)
#define ADD_0(a) ADD(a, 30)
#define ADD_1(a) ADD(a, 25)
#define ADD_2(a) ADD(a, 26)
#define ADD_3(a) ADD(a, 27)
#define ADD_4(a) ADD(a, 28)

/* chi (algorithm 4) of a row, in place. */
#define CHI(a, b, c, d, e)                                                                       \
    MOVE(29, a) MOVE(31, b) ADD_AND_NOT(a, b, c) ADD_AND_NOT(b, c, d) ADD_AND_NOT(c, d, e)       \
        ADD_AND_NOT(d, e, 29) ADD_AND_NOT(e, 29, 31)

/* The round whose constant is at 8*i(%1); word n is in register an. rho and pi (algorithms 2 and 3)
 * of each row come before chi of the last, so that there is more to do at a time. */
#define ROUND(i, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, \
              a18, a19, a20, a21, a22, a23, a24)                                                 \
    COLUMN(25, a0, a5, a10, a15, a20) COLUMN(26, a1, a6, a11, a16, a21)                          \
    COLUMN(27, a2, a7, a12, a17, a22) COLUMN(28, a3, a8, a13, a18, a23)                          \
    COLUMN(29, a4, a9, a14, a19, a24) THETA                                                      \
    ADD_0(a0) ADD_1(a6) ROTATED(a6, a6, 44) ADD_2(a12) ROTATED(a12, a12, 43)                     \
    ADD_3(a18) ROTATED(a18, a18, 21) ADD_4(a24) ROTATED(a24, a24, 14)                            \
    ADD_3(a3) ROTATED(a3, a3, 28) ADD_4(a9) ROTATED(a9, a9, 20) ADD_0(a10)                       \
    ROTATED(a10, a10, 3) ADD_1(a16) ROTATED(a16, a16, 45) ADD_2(a22) ROTATED(a22, a22, 61)       \
    CHI(a0, a6, a12, a18, a24)                                                                   \
    ADD_1(a1) ROTATED(a1, a1, 1) ADD_2(a7) ROTATED(a7, a7, 6) ADD_3(a13) ROTATED(a13, a13, 25)   \
    ADD_4(a19) ROTATED(a19, a19, 8) ADD_0(a20) ROTATED(a20, a20, 18)                             \
    CHI(a3, a9, a10, a16, a22)                                                                   \
    ADD_4(a4) ROTATED(a4, a4, 27) ADD_0(a5) ROTATED(a5, a5, 36) ADD_1(a11)                       \
    ROTATED(a11, a11, 10) ADD_2(a17) ROTATED(a17, a17, 15) ADD_3(a23) ROTATED(a23, a23, 56)      \
    CHI(a1, a7, a13, a19, a20)                                                                   \
    ADD_2(a2) ROTATED(a2, a2, 62) ADD_3(a8) ROTATED(a8, a8, 55) ADD_4(a14)                       \
    ROTATED(a14, a14, 39) ADD_0(a15) ROTATED(a15, a15, 41) ADD_1(a21) ROTATED(a21, a21, 2)       \
    CHI(a4, a5, a11, a17, a23) CHI(a2, a8, a14, a15, a21)                                        \
    "vpxorq 8*" #i "(%1)" BROADCAST ", " REGISTER(a0) ", " REGISTER(a0) LINE

#define ALL_WORDS(f)                                                                             \
    f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15) f(16)  \
        f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24)

/* MemorySanitizer follows no assembly, and this has neither branches nor addresses that depend on
 * the state. */
#if defined(QPHER_CT_MSAN)
static void keccak_f1600_here(uint64_t *s)
{
    keccak_f1600_strided(s, STATES);
}
#else
#pragma GCC diagnostic ignored "-Woverlength-strings" /* ISO C asks for 4095 characters only */
static void keccak_f1600_here(uint64_t *s)
{
    const uint64_t *rc = keccak_rc, *const end = keccak_rc + 24;
    __asm__ volatile(
        ALL_WORDS(LOAD)
        ".p2align 5\n"
        "1:\n\t"
        ROUND(0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
              23, 24)
        ROUND(1, 0, 6, 12, 18, 24, 3, 9, 10, 16, 22, 1, 7, 13, 19, 20, 4, 5, 11, 17, 23, 2, 8, 14,
              15, 21)
        MOVE(31, 1) MOVE(1, 9) MOVE(9, 14) MOVE(14, 2) MOVE(2, 13) MOVE(13, 23) MOVE(23, 4)
        MOVE(4, 21) MOVE(21, 16) MOVE(16, 3) MOVE(3, 17) MOVE(17, 7) MOVE(7, 31) MOVE(31, 5)
        MOVE(5, 18) MOVE(18, 11) MOVE(11, 10) MOVE(10, 6) MOVE(6, 22) MOVE(22, 20) MOVE(20, 12)
        MOVE(12, 19) MOVE(19, 15) MOVE(15, 24) MOVE(24, 8) MOVE(8, 31)
        "add $16, %1\n\t"
        "cmp %2, %1\n\t"
        "jne 1b\n\t"
        ALL_WORDS(STORE)
        : "+r"(s), "+r"(rc)
        : "r"(end)
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
          "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
          "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
          "xmm29", "xmm30", "xmm31");
}
#endif
