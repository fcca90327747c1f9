/* SPDX-License-Identifier: Apache-2.0 */
/* Wiping, and pages for key objects. */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qpher_native.h"

/* The empty statement reads the memory behind p as far as the compiler can tell, so that the
 * stores before it have an effect and stay. */
void qpher_wipe(void *p, size_t n)
{
    if (p == NULL || n == 0)
        return;
    memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

static size_t page_bytes(void)
{
    const long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096;
}

static size_t whole_pages(size_t n, size_t page)
{
    return (n + page - 1) / page * page;
}

void *qpher_map(size_t n, int *locked)
{
    const size_t page = page_bytes();
    const size_t size = whole_pages(n, page);
    uint8_t *base;

    if (locked != NULL)
        *locked = 0;
    if (n == 0 || n > (size_t)1 << 30)
        return NULL;
    base = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mprotect(base + page, size, PROT_READ | PROT_WRITE) != 0) {
        munmap(base, size + 2 * page);
        return NULL;
    }
#if defined(MADV_DONTDUMP)
    madvise(base + page, size, MADV_DONTDUMP);
#endif
    if (locked != NULL)
        *locked = mlock(base + page, size) == 0;
    return base + page;
}

void qpher_unmap(void *p, size_t n)
{
    const size_t page = page_bytes();
    const size_t size = whole_pages(n, page);
    if (p == NULL)
        return;
    qpher_wipe(p, size);
    munlock(p, size);
    munmap((uint8_t *)p - page, size + 2 * page);
}
