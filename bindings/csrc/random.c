/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness from the operating system; nothing is buffered, so nothing survives a fork. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <unistd.h>
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

#include "qpher_native.h"

/* One request: at most 256 bytes, which getrandom and getentropy give whole or not at all. */
static int request(uint8_t *out, size_t n)
{
#if defined(__linux__)
    size_t done = 0;
    while (done < n) {
        const ssize_t got = getrandom(out + done, n - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return QPHER_ERR_RANDOM;
        done += (size_t)got;
    }
    return QPHER_OK;
#else
    return getentropy(out, n) == 0 ? QPHER_OK : QPHER_ERR_RANDOM;
#endif
}

int qpher_random(uint8_t *out, size_t n)
{
    if (out == NULL && n > 0)
        return QPHER_ERR_ARGUMENT;
    for (size_t done = 0; done < n;) {
        const size_t part = n - done < 256 ? n - done : 256;
        const int err = request(out + done, part);
        if (err != QPHER_OK) {
            qpher_wipe(out, n);
            return err;
        }
        done += part;
    }
    return QPHER_OK;
}
