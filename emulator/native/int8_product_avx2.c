/*
 * AVX2: sixteen products an instruction, widened to int16 first, for the unsigned-by-signed byte product saturates.
 */
#if defined(__x86_64__)

#include "int8_product.h"

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))

struct wide {
	__m256i low, high; /* 32 values as int16 */
};

TARGET static inline struct wide widened(const void *values)
{
	return (struct wide){_mm256_cvtepi8_epi16(_mm_loadu_si128(values)),
			     _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)values + 1))};
}

TARGET static inline __m256i add_products(__m256i sums, struct wide a, struct wide b)
{
	return _mm256_add_epi32(sums, _mm256_add_epi32(_mm256_madd_epi16(a.low, b.low), _mm256_madd_epi16(a.high, b.high)));
}

/* The totals of four vectors of partial sums. */
TARGET static inline __m128i reduce(const __m256i *part)
{
	const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(part[0], part[1]), _mm256_hadd_epi32(part[2], part[3]));

	return _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

/* Four rows of the matrix with one or two rows of features. */
TARGET static inline void multiply(const uint8_t *features, size_t columns, size_t rows, const int8_t *const *block,
				   size_t blocks, size_t first, __m256i (*part)[INT8_SUMS])
{
	for (size_t k = 0; k < blocks; k++) {
		for (size_t n = 0; n < INT8_SUMS; n++) {
			const struct wide weights = widened(block[k] + (first + n) * INT8_GROUP);

			for (size_t row = 0; row < rows; row++) {
				const struct wide vector = widened(features + row * columns + k * INT8_GROUP);

				part[row][n] = add_products(part[row][n], weights, vector);
			}
		}
	}
}

TARGET static void avx2_group(const uint8_t *features, size_t count, const int8_t *const *block, size_t blocks,
			      const int8_t *const *next, int32_t *sums)
{
	const size_t columns = blocks * INT8_GROUP;

	(void)next;
	for (size_t first = 0; first < INT8_GROUP; first += INT8_SUMS) {
		for (size_t row = 0; row < count; row += 2) {
			__m256i part[2][INT8_SUMS] = {0};
			int32_t *target = sums + (first / INT8_SUMS * count + row) * INT8_SUMS;

			if (count - row >= 2) {
				multiply(features + row * columns, columns, 2, block, blocks, first, part);
				_mm_storeu_si128((__m128i *)(target + INT8_SUMS), reduce(part[1]));
			} else {
				multiply(features + row * columns, columns, 1, block, blocks, first, part);
			}
			_mm_storeu_si128((__m128i *)target, reduce(part[0]));
		}
	}
}

const struct int8_kind int8_avx2 = {"avx2", 0, avx2_group};

#else
typedef int avx2_product_is_of_another_architecture;
#endif
