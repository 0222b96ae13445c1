/*
 * AVX-512 VNNI: sixteen sums of four products an instruction, of unsigned by signed bytes. The features come biased by
 * 128, so that they are unsigned; 128 times the sum of each row of weights is taken away again.
 *
 * A vector holds two rows of a block; its sixteen partial sums are those of both rows, eight each. Four vectors, eight
 * rows, are reduced together.
 */
#if defined(__x86_64__)

#include "int8_product.h"

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define VECTORS 4                             /* that are reduced together */
#define PASS (VECTORS * 64)                   /* their bytes in a block */
#define PASSES (INT8_BLOCK / PASS)
#define ROWS_OF_FEATURES 6                    /* that share a load of weights: 24 accumulators, 4 vectors of weights */
#define SUM_GROUPS (INT8_GROUP / INT8_SUMS)

/* The sums of eight rows, as two vectors of four. */
struct eight_rows {
	__m128i low, high;
};

TARGET static inline __m512i load_features(const uint8_t *features)
{
	return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)features));
}

TARGET static inline struct eight_rows reduce(const __m512i *part)
{
	const __m512i ab =
		_mm512_add_epi32(_mm512_unpacklo_epi32(part[0], part[1]), _mm512_unpackhi_epi32(part[0], part[1]));
	const __m512i cd =
		_mm512_add_epi32(_mm512_unpacklo_epi32(part[2], part[3]), _mm512_unpackhi_epi32(part[2], part[3]));
	const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
	const __m256i first = _mm512_castsi512_si256(all);      /* rows 0, 2, 4, 6 */
	const __m256i second = _mm512_extracti64x4_epi64(all, 1); /* rows 1, 3, 5, 7 */
	const __m128i even = _mm_add_epi32(_mm256_castsi256_si128(first), _mm256_extracti128_si256(first, 1));
	const __m128i odd = _mm_add_epi32(_mm256_castsi256_si128(second), _mm256_extracti128_si256(second, 1));

	return (struct eight_rows){_mm_unpacklo_epi32(even, odd), _mm_unpackhi_epi32(even, odd)};
}

TARGET static inline void store(int32_t *sums, size_t count, size_t pass, size_t row, struct eight_rows result,
				struct eight_rows bias)
{
	int32_t *target = sums + (2 * pass * count + row) * INT8_SUMS;

	_mm_storeu_si128((__m128i *)target, _mm_sub_epi32(result.low, bias.low));
	_mm_storeu_si128((__m128i *)(target + count * INT8_SUMS), _mm_sub_epi32(result.high, bias.high));
}

/* 128 times the sums of the rows of weights. */
TARGET static inline struct eight_rows bias_of(const int8_t *const *block, size_t blocks, size_t pass)
{
	const __m512i ones = _mm512_set1_epi8(1);
	__m512i part[VECTORS] = {0};
	struct eight_rows result;

	for (size_t k = 0; k < blocks; k++) {
		for (size_t v = 0; v < VECTORS; v++) {
			part[v] = _mm512_dpbusd_epi32(part[v], ones,
						      _mm512_loadu_si512(block[k] + pass * PASS + 64 * v));
		}
	}
	result = reduce(part);
	return (struct eight_rows){_mm_slli_epi32(result.low, 7), _mm_slli_epi32(result.high, 7)};
}

/* One pass over the weights for `rows` rows of features; `rows` is a constant where it is inlined. */
TARGET __attribute__((always_inline)) static inline void multiply(const uint8_t *features, size_t columns,
								   const int8_t *const *block, size_t blocks,
								   size_t pass, size_t rows, __m512i (*part)[VECTORS])
{
	for (size_t row = 0; row < rows; row++) {
		for (size_t v = 0; v < VECTORS; v++) {
			part[row][v] = _mm512_setzero_si512();
		}
	}
	for (size_t k = 0; k < blocks; k++) {
		const int8_t *weights = block[k] + pass * PASS;
		__m512i w[VECTORS];

		for (size_t v = 0; v < VECTORS; v++) {
			w[v] = _mm512_loadu_si512(weights + 64 * v);
		}
		for (size_t row = 0; row < rows; row++) {
			const __m512i x = load_features(features + row * columns + k * INT8_GROUP);

			for (size_t v = 0; v < VECTORS; v++) {
				part[row][v] = _mm512_dpbusd_epi32(part[row][v], x, w[v]);
			}
		}
	}
}

#define MULTIPLY(ROWS)                                                                                                 \
	TARGET static void multiply_##ROWS(const uint8_t *features, size_t columns, const int8_t *const *block,        \
					   size_t blocks, size_t pass, __m512i(*part)[VECTORS])                        \
	{                                                                                                              \
		__m512i local[ROWS][VECTORS];                                                                          \
		multiply(features, columns, block, blocks, pass, ROWS, local);                                         \
		for (size_t row = 0; row < ROWS; row++) {                                                              \
			for (size_t v = 0; v < VECTORS; v++) {                                                         \
				part[row][v] = local[row][v];                                                          \
			}                                                                                              \
		}                                                                                                      \
	}

MULTIPLY(6)
MULTIPLY(2)
MULTIPLY(1)

/*
 * Both planes of a single token: the weights come from memory, so they are loaded once, for their bias too, and those of
 * the next group are asked for on the way; the processor itself does not look ahead over pages.
 */
TARGET static void two_rows(const uint8_t *features, const int8_t *const *block, size_t blocks,
			    const int8_t *const *next, int32_t *sums)
{
	const __m512i ones = _mm512_set1_epi8(1);
	const uint8_t *second = features + blocks * INT8_GROUP;

	for (size_t pass = 0; pass < PASSES; pass++) {
		__m512i a[VECTORS] = {0}, b[VECTORS] = {0}, c[VECTORS] = {0};
		struct eight_rows bias;

		for (size_t k = 0; k < blocks; k++) {
			const __m512i x = load_features(features + k * INT8_GROUP);
			const __m512i y = load_features(second + k * INT8_GROUP);

			for (size_t v = 0; next != NULL && v < VECTORS; v++) {
				_mm_prefetch((const char *)next[k] + pass * PASS + 64 * v, _MM_HINT_T0);
			}
			for (size_t v = 0; v < VECTORS; v++) {
				const __m512i w = _mm512_loadu_si512(block[k] + pass * PASS + 64 * v);

				a[v] = _mm512_dpbusd_epi32(a[v], x, w);
				b[v] = _mm512_dpbusd_epi32(b[v], y, w);
				c[v] = _mm512_dpbusd_epi32(c[v], ones, w);
			}
		}
		bias = reduce(c);
		bias = (struct eight_rows){_mm_slli_epi32(bias.low, 7), _mm_slli_epi32(bias.high, 7)};
		store(sums, 2, pass, 0, reduce(a), bias);
		store(sums, 2, pass, 1, reduce(b), bias);
	}
}

TARGET static void vnni_group(const uint8_t *features, size_t count, const int8_t *const *block, size_t blocks,
			      const int8_t *const *next, int32_t *sums)
{
	const size_t columns = blocks * INT8_GROUP;

	if (count == 2) {
		two_rows(features, block, blocks, next, sums);
		return;
	}
	for (size_t pass = 0; pass < PASSES; pass++) {
		const struct eight_rows bias = bias_of(block, blocks, pass);
		size_t rows;

		for (size_t row = 0; row < count; row += rows) {
			const uint8_t *from = features + row * columns;
			__m512i part[ROWS_OF_FEATURES][VECTORS];

			rows = count - row >= ROWS_OF_FEATURES ? ROWS_OF_FEATURES : count - row >= 2 ? 2 : 1;
			if (rows == ROWS_OF_FEATURES) {
				multiply_6(from, columns, block, blocks, pass, part);
			} else if (rows == 2) {
				multiply_2(from, columns, block, blocks, pass, part);
			} else {
				multiply_1(from, columns, block, blocks, pass, part);
			}
			for (size_t i = 0; i < rows; i++) {
				store(sums, count, pass, row + i, reduce(part[i]), bias);
			}
		}
	}
}

const struct int8_kind int8_vnni = {"avx512-vnni", 0x80, vnni_group};

#else
typedef int vnni_is_of_another_architecture;
#endif
