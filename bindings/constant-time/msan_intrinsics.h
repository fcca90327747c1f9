/* SPDX-License-Identifier: Apache-2.0 */
/* For the MemorySanitizer build alone (clang, -include): plain C for the AVX-512 intrinsics that
 * MemorySanitizer does not know. It would report every use of such an intrinsic on a secret;
 * written out, the secret's shadow passes through them as it does through the instructions. */
#ifndef QPHER_MSAN_INTRINSICS_H
#define QPHER_MSAN_INTRINSICS_H

#if defined(__x86_64__) && defined(QPHER_CT_MSAN)
#include <immintrin.h>

/* Any function of three bits, as the sum of its minterms; imm is its truth table. */
#define MSAN_TERN(type, x, y, z, imm)                                                            \
    __extension__({                                                                              \
        const type a_ = (x), b_ = (y), c_ = (z), o_ = a_ ^ a_;                                   \
        (((imm)&0x01) ? ~a_ & ~b_ & ~c_ : o_) | (((imm)&0x02) ? ~a_ & ~b_ & c_ : o_) |           \
            (((imm)&0x04) ? ~a_ & b_ & ~c_ : o_) | (((imm)&0x08) ? ~a_ & b_ & c_ : o_) |         \
            (((imm)&0x10) ? a_ & ~b_ & ~c_ : o_) | (((imm)&0x20) ? a_ & ~b_ & c_ : o_) |         \
            (((imm)&0x40) ? a_ & b_ & ~c_ : o_) | (((imm)&0x80) ? a_ & b_ & c_ : o_);            \
    })
#undef _mm512_ternarylogic_epi64
#define _mm512_ternarylogic_epi64(x, y, z, imm) MSAN_TERN(__m512i, x, y, z, imm)
#undef _mm512_ternarylogic_epi32
#define _mm512_ternarylogic_epi32(x, y, z, imm) MSAN_TERN(__m512i, x, y, z, imm)
#undef _mm256_ternarylogic_epi64
#define _mm256_ternarylogic_epi64(x, y, z, imm) MSAN_TERN(__m256i, x, y, z, imm)
#undef _mm256_ternarylogic_epi32
#define _mm256_ternarylogic_epi32(x, y, z, imm) MSAN_TERN(__m256i, x, y, z, imm)

#define MSAN_ROL(type, x, n)                                                                     \
    __extension__({                                                                              \
        const type a_ = (type)(x);                                                               \
        (a_ << (n)) | (a_ >> (64 - (n)));                                                        \
    })
typedef unsigned long long msan_u64x8 __attribute__((vector_size(64)));
typedef unsigned long long msan_u64x4 __attribute__((vector_size(32)));
#undef _mm512_rol_epi64
#define _mm512_rol_epi64(x, n) ((__m512i)MSAN_ROL(msan_u64x8, x, n))
#undef _mm256_rol_epi64
#define _mm256_rol_epi64(x, n) ((__m256i)MSAN_ROL(msan_u64x4, x, n))

#endif
#endif
