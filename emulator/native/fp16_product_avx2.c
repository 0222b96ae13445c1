/* fp16 products with AVX2 and F16C: vectors of eight lanes. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t halves __attribute__((vector_size(16)));
typedef float eight __attribute__((vector_size(32)));

#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)

static inline eight widen(halves value)
{
	return _mm256_cvtph_ps((__m128i)value);
}

#define KIND fp16_avx2
#define NAME "avx2"
#define LANES 8
#define TILE 4
#include "fp16_product_loops.h"
#pragma clang attribute pop

#else
typedef int avx2_fp16_product_is_of_another_architecture;
#endif
