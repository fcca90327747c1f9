/* SPDX-License-Identifier: Apache-2.0 */
/* Wiping, of memory and of registers, and pages for key objects. */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"
#include "qpher_native.h"

/* Zeroes the vector registers, none of which outlives a call. What a secret left in one would
 * be saved on the stack by whoever comes next: the dynamic linker, a signal, a context switch.
 * Each instruction is a zeroing idiom and costs next to nothing. The compiler never uses registers
 * 16 to 31 in this file, so they need no clobber. */
static void wipe_vector_registers(void)
{
#if defined(__x86_64__)
#define ZERO(n) "vpxor %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t" /* and all above 128 bits */
#define ZERO_512(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define ZERO_SSE(n) "pxor %%xmm" #n ", %%xmm" #n "\n\t"
#define ALL(z) z(0) z(1) z(2) z(3) z(4) z(5) z(6) z(7) z(8) z(9) z(10) z(11) z(12) z(13) z(14) z(15)
#define UPPER(z) \
    z(16) z(17) z(18) z(19) z(20) z(21) z(22) z(23) z(24) z(25) z(26) z(27) z(28) z(29) z(30) z(31)
#define CLOBBERS                                                                               \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
    if (qpher_dispatch.path == QPHER_CPU_PORTABLE)
        __asm__ volatile(ALL(ZERO_SSE) : : : CLOBBERS);
    else
        __asm__ volatile(ALL(ZERO) : : : CLOBBERS);
    if (qpher_dispatch.path == QPHER_CPU_AVX512)
        __asm__ volatile(UPPER(ZERO_512) : : : "memory");
#elif defined(__aarch64__)
#define ZERO(n) "movi v" #n ".2d, #0\n\t"
    __asm__ volatile(ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7) ZERO(16)
                         ZERO(17) ZERO(18) ZERO(19) ZERO(20) ZERO(21) ZERO(22) ZERO(23) ZERO(24)
                             ZERO(25) ZERO(26) ZERO(27) ZERO(28) ZERO(29) ZERO(30) ZERO(31)
                     :
                     :
                     : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19",
                       "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
                       "v31");
#endif
}

/* The empty statement reads the memory behind p as far as the compiler can tell, so that the
 * stores before it have an effect and stay. */
void qpher_wipe(void *p, size_t n)
{
    if (p != NULL && n > 0) {
        memset(p, 0, n);
        __asm__ volatile("" : : "r"(p) : "memory");
    }
    wipe_vector_registers();
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
