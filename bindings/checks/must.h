/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that cannot fail here: if one does, the program says which and ends. */
#ifndef QPHER_CHECKS_MUST_H
#define QPHER_CHECKS_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define MUST(call)                                                                               \
    do {                                                                                         \
        const int result_ = (call);                                                              \
        if (result_ != 0) {                                                                      \
            fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #call, result_);              \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

#endif
