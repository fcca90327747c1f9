/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share.
 *
 * An input is a parameter set (1 byte), a mode (1 byte) and material. Mode 0: the material is the
 * encoded object, at whatever length it has. Mode 1: the same, cut or zero-padded to the right
 * length. Other modes: a valid object, edited: every three bytes of material replace one byte of
 * it, so that the input gets past the first checks.
 *
 * Every target runs on the portable path and on the best one of the CPU, and the results must
 * agree: the memory checker and the comparison look for different bugs in one run. */
#ifndef QPHER_FUZZ_H
#define QPHER_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "qpher_native.h"

enum { FUZZ_MAX = 8192 };

/* An object for C to read: exactly as long as it says, so that any read past it is seen. */
typedef struct {
    uint8_t *bytes;
    size_t length;
} object;

#define REQUIRE(condition)                                                                       \
    do {                                                                                         \
        if (!(condition))                                                                        \
            abort();                                                                             \
    } while (0)

static inline void *fresh(size_t n)
{
    const size_t size = (n + QPHER_ALIGNMENT - 1) / QPHER_ALIGNMENT * QPHER_ALIGNMENT;
    void *p = aligned_alloc(QPHER_ALIGNMENT, size);
    REQUIRE(p != NULL);
    return p;
}

static inline object make(const uint8_t *data, size_t size, const uint8_t *valid, size_t length)
{
    object o;
    const int mode = size > 1 ? data[1] % 4 : 0;
    const uint8_t *material = size > 2 ? data + 2 : data;
    const size_t n = size > 2 ? size - 2 : 0;

    o.length = mode == 0 ? n : length;
    o.bytes = malloc(o.length > 0 ? o.length : 1);
    REQUIRE(o.bytes != NULL);
    if (mode == 0) {
        memcpy(o.bytes, material, n);
    } else if (mode == 1) {
        memset(o.bytes, 0, length);
        memcpy(o.bytes, material, n < length ? n : length);
    } else {
        memcpy(o.bytes, valid, length);
        for (size_t i = 0; i + 3 <= n; i += 3)
            o.bytes[(material[i] | (size_t)material[i + 1] << 8) % length] = material[i + 2];
    }
    return o;
}

/* The paths to compare: the portable one, then the best of this CPU. */
static inline void use_path(int which)
{
    REQUIRE(qpher_init(which == 0 ? QPHER_CPU_PORTABLE : qpher_cpu_best()) >= 0);
}

#endif
