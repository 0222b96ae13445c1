/* fp16 products with AVX-512: vectors of sixteen lanes. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t halves __attribute__((vector_size(16)));
typedef float eight __attribute__((vector_size(32)));

#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,f16c"))), apply_to = function)

static inline eight widen(halves value)
{
	return _mm256_cvtph_ps((__m128i)value);
}

#define KIND fp16_avx512
#define NAME "avx512"
#define LANES 16
#define TILE 8
#include "fp16_product_loops.h"
#pragma clang attribute pop

#else
typedef int avx512_fp16_product_is_of_another_architecture;
#endif
