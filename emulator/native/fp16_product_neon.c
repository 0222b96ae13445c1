/* fp16 products with Advanced SIMD, which converts fp16 itself: vectors of four lanes. */
#if defined(__aarch64__)

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

typedef uint16_t halves __attribute__((vector_size(16)));
typedef float eight __attribute__((vector_size(32)));

static inline eight widen(halves value)
{
	const float16x8_t all = (float16x8_t)value;
	const float32x4_t low = vcvt_f32_f16(vget_low_f16(all));
	const float32x4_t high = vcvt_high_f32_f16(all);

	return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

#define KIND fp16_neon
#define NAME "neon"
#define LANES 4
#define TILE 4
#include "fp16_product_loops.h"

#else
typedef int neon_fp16_product_is_of_another_architecture;
#endif
