/* SPDX-License-Identifier: Apache-2.0 */
/* What the constant-time programs share. */
#ifndef QPHER_CT_HARNESS_H
#define QPHER_CT_HARNESS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ct.h"
#include "qpher_native.h"

/* Stops unless a call returned 0: a harness that fails early would check nothing. */
#define MUST(call)                                                                               \
    do {                                                                                         \
        const int result_ = (call);                                                              \
        if (result_ != 0) {                                                                      \
            fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #call, result_);              \
            exit(2);                                                                             \
        }                                                                                        \
    } while (0)

/* 0 if every byte at p is poisoned, or half of them with MemorySanitizer, which does not follow
 * carries: then the checker follows the secret this far. */
static inline int is_poisoned(const uint8_t *p, size_t n)
{
#if defined(QPHER_CT_VALGRIND)
    int clean = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t bits = 0xff;
        if (VALGRIND_GET_VBITS(p + i, &bits, 1) == 1)
            clean += bits == 0;
    }
    return clean;
#elif defined(QPHER_CT_MSAN)
    int clean = 0;
    for (size_t i = 0; i < n; i++)
        clean += __msan_test_shadow(p + i, 1) != 0;
    return 2 * clean > (int)n;
#else
    (void)p;
    (void)n;
    return 0;
#endif
}

/* The path that the first argument names by its number. */
static inline void choose_path(int argc, char **argv)
{
    const int path = argc > 1 ? atoi(argv[1]) : -1;
    const int chosen = qpher_init(path);
    if (chosen < 0 || (path >= 0 && chosen != path)) {
        fprintf(stderr, "this CPU, or this checker, has no path %d\n", path);
        exit(3);
    }
    printf("path %d; ", chosen);
}

#endif
