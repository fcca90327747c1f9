/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatch table: which unit does the work on this CPU. Written once, by qpher_init. */
#ifndef QPHER_CPU_H
#define QPHER_CPU_H

#include "qpher_native.h"

/* A unit is one table of functions per code path. A module offers one choice function
 * (keccak_unit_for and so on) that maps a path to its best unit for it; qpher_init calls each. */
struct keccak_unit;
struct mlkem_unit;
struct mldsa_unit;

struct qpher_dispatch {
    enum qpher_cpu_path path;
    const struct keccak_unit *keccak;
    const struct mlkem_unit *mlkem;
    const struct mldsa_unit *mldsa;
};

extern struct qpher_dispatch qpher_dispatch;

#endif
