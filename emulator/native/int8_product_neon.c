/*
 * Advanced SIMD: with SDOT (FEAT_DotProd, Armv8.2) sixteen products an instruction, without it eight.
 */
#if defined(__aarch64__)

#include "int8_product.h"

#include <arm_neon.h>

static inline int32x4_t add_products(int32x4_t sums, int8x16_t a, int8x16_t b)
{
	sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
	return vpadalq_s16(sums, vmull_high_s8(a, b));
}

__attribute__((target("dotprod"))) static inline int32x4_t add_dots(int32x4_t sums, int8x16_t a, int8x16_t b)
{
	return vdotq_s32(sums, a, b);
}

/* Four rows of the matrix with each row of features in turn, so that the weights stay in registers' reach. */
#define GROUP(NAME, TARGET, ADD)                                                                                       \
	TARGET static void NAME(const uint8_t *features, size_t count, const int8_t *const *block, size_t blocks,      \
				const int8_t *const *next, int32_t *sums)                                              \
	{                                                                                                              \
		(void)next;                                                                                            \
		for (size_t first = 0; first < INT8_GROUP; first += INT8_SUMS) {                                       \
			for (size_t row = 0; row < count; row++) {                                                     \
				const int8_t *vector = (const int8_t *)features + row * blocks * INT8_GROUP;           \
				int32x4_t part[INT8_SUMS] = {0};                                                       \
				for (size_t k = 0; k < blocks; k++) {                                                  \
					const int8x16_t x = vld1q_s8(vector + k * INT8_GROUP);                         \
					const int8x16_t y = vld1q_s8(vector + k * INT8_GROUP + 16);                    \
					for (size_t n = 0; n < INT8_SUMS; n++) {                                       \
						const int8_t *w = block[k] + (first + n) * INT8_GROUP;                 \
						part[n] = ADD(part[n], vld1q_s8(w), x);                                \
						part[n] = ADD(part[n], vld1q_s8(w + 16), y);                           \
					}                                                                              \
				}                                                                                      \
				vst1q_s32(sums + (first / INT8_SUMS * count + row) * INT8_SUMS,                        \
					  vpaddq_s32(vpaddq_s32(part[0], part[1]), vpaddq_s32(part[2], part[3])));     \
			}                                                                                              \
		}                                                                                                      \
	}

GROUP(neon_group, , add_products)
GROUP(dot_group, __attribute__((target("dotprod"))), add_dots)

const struct int8_kind int8_neon = {"neon", 0, neon_group};
const struct int8_kind int8_dot = {"neon-dot", 0, dot_group};

#else
typedef int neon_is_of_another_architecture;
#endif
