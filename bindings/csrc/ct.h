/* SPDX-License-Identifier: Apache-2.0 */
/* Constant time: value barriers, masks, selection, and the marks that the checker reads.
 *
 * Masks are all ones or all zeros. The barriers keep a compiler from learning that a value is
 * a mask and turning the selection back into a branch; each has no cost but that one register. */
#ifndef QPHER_CT_H
#define QPHER_CT_H

#include <stddef.h>
#include <stdint.h>

#include "qpher_native.h"

/* The constant-time builds define one of the two: memory that holds a secret is then marked as
 * undefined, and the checker reports every branch, index or division that depends on it.
 * DECLASSIFY says that a value may be known; each use justifies itself in a comment. POISON inside
 * the core makes up for what a checker loses: MemorySanitizer takes the bits that only a carry can
 * reach for public. */
#if defined(QPHER_CT_VALGRIND)
#include <valgrind/memcheck.h>
#define QPHER_CT_POISON(p, n) ((void)VALGRIND_MAKE_MEM_UNDEFINED((p), (n)))
#define QPHER_CT_DECLASSIFY(p, n) ((void)VALGRIND_MAKE_MEM_DEFINED((p), (n)))
#elif defined(QPHER_CT_MSAN)
#include <sanitizer/msan_interface.h>
#define QPHER_CT_POISON(p, n) __msan_poison((p), (n))
#define QPHER_CT_DECLASSIFY(p, n) __msan_unpoison((p), (n))
#else
#define QPHER_CT_POISON(p, n) ((void)(p), (void)(n))
#define QPHER_CT_DECLASSIFY(p, n) ((void)(p), (void)(n))
#endif

/* x, but the compiler no longer knows anything about it. MemorySanitizer would stop at inline
 * assembly, so it gets a variable that may change at any time. */
#if defined(QPHER_CT_MSAN)
#define QPHER_CT_BARRIER(type, x)                                                                \
    volatile type barred = (x);                                                                  \
    return barred
#else
#define QPHER_CT_BARRIER(type, x)                                                                \
    type barred = (x);                                                                           \
    __asm__("" : "+r"(barred));                                                                  \
    return barred
#endif

static inline uint32_t ct_barrier32(uint32_t x)
{
    QPHER_CT_BARRIER(uint32_t, x);
}

static inline int32_t ct_barrier_i32(int32_t x)
{
    QPHER_CT_BARRIER(int32_t, x);
}

static inline uint64_t ct_barrier64(uint64_t x)
{
    QPHER_CT_BARRIER(uint64_t, x);
}

/* All ones if x != 0, else 0. */
static inline uint32_t ct_mask_nonzero32(uint32_t x)
{
    x = ct_barrier32(x);
    return 0u - ((x | (0u - x)) >> 31);
}

/* All ones if x < 0, else 0. */
static inline uint32_t ct_mask_negative(int32_t x)
{
    return 0u - (ct_barrier32((uint32_t)x) >> 31);
}

/* a where mask is all ones, b where it is 0. */
static inline uint32_t ct_select32(uint32_t mask, uint32_t a, uint32_t b)
{
    return b ^ (ct_barrier32(mask) & (a ^ b));
}

/* All ones if the n bytes at a and b differ anywhere, else 0; reads all of them. */
static inline uint32_t ct_mask_differ(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint32_t diff = 0;
    for (size_t i = 0; i < n; i++)
        diff |= (uint32_t)(a[i] ^ b[i]);
    return ct_mask_nonzero32(diff);
}

/* out[i] = a[i] where mask is all ones, else out[i] stays. */
static inline void ct_copy_if(uint32_t mask, uint8_t *out, const uint8_t *a, size_t n)
{
    const uint8_t m = (uint8_t)ct_barrier32(mask);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(out[i] ^ (m & (out[i] ^ a[i])));
}

#endif
