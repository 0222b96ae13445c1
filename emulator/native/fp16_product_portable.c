/* fp16 products for every processor that the build supports: vectors of four lanes. */
#include <stddef.h>
#include <stdint.h>

typedef uint16_t halves __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(32)));
typedef float eight __attribute__((vector_size(32)));

/* An exponent of 0 says that the fraction counts 2^-24ths; one of 31, infinity or NaN, stays the largest. */
static inline eight widen(halves value)
{
	const words bits = __builtin_convertvector(value, words);
	const words size = bits & 0x7fff;
	const words subnormal = (words)(size < 0x400);
	const words largest = (words)(size >= 0x7c00);
	const eight small = __builtin_convertvector(size, eight) * 0x1p-24f;
	const words wide = (size << 13) + (112 << 23) + (largest & (112 << 23));

	return (eight)((bits & 0x8000) << 16 | (subnormal & (words)small) | (~subnormal & wide));
}

#define KIND fp16_portable
#define NAME "portable"
#define LANES 4
#define TILE 1
#include "fp16_product_loops.h"
