/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness from the operating system; nothing is buffered, so nothing survives a fork. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <unistd.h>
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

#include "qpher_native.h"

/* Asks until n bytes are there: a signal may cut a large request short. */
static int request(uint8_t *out, size_t n)
{
    for (size_t done = 0; done < n;) {
#if defined(__linux__)
        const ssize_t got = getrandom(out + done, n - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
#else
        const size_t part = n - done < 256 ? n - done : 256; /* the most that getentropy gives */
        const ssize_t got = getentropy(out + done, part) == 0 ? (ssize_t)part : -1;
#endif
        if (got <= 0)
            return QPHER_ERR_RANDOM;
        done += (size_t)got;
    }
    return QPHER_OK;
}

int qpher_random(uint8_t *out, size_t n)
{
    if (out == NULL && n > 0)
        return QPHER_ERR_ARGUMENT;
    const int result = request(out, n);
    if (result != QPHER_OK)
        qpher_wipe(out, n);
    return result;
}
