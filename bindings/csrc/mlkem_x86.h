/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the AVX2 and AVX-512 units of ML-KEM; see struct mlkem_unit for what they do. */
#ifndef QPHER_MLKEM_X86_H
#define QPHER_MLKEM_X86_H

#include "mlkem_poly.h"

/* The zetas of the layers whose butterflies lie within a vector, len = 16, 8, 4 and 2, forwards
 * and backwards: butterfly i of a layer, in the order of its coefficients, takes element i. */
enum { MLKEM_LANE_LAYERS = 4 };
extern const int16_t mlkem_lane_zetas[MLKEM_LANE_LAYERS][MLKEM_N / 2];
extern const int16_t mlkem_lane_quotients[MLKEM_LANE_LAYERS][MLKEM_N / 2];
extern const int16_t mlkem_lane_inverse_zetas[MLKEM_LANE_LAYERS][MLKEM_N / 2];
extern const int16_t mlkem_lane_inverse_quotients[MLKEM_LANE_LAYERS][MLKEM_N / 2];

#endif
