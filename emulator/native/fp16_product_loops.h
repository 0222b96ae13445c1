/*
 * The inner loops of fp16 products; included by each file that compiles them for a kind of processor, which defines
 *   KIND, NAME  the table and its name
 *   LANES       floats in a vector
 *   TILE        rows of features that are multiplied together: their sums stay in registers
 *   widen()     eight fp16 as floats
 * Rows of the matrix are the lanes, so every sum is one lane, to which products are added in order: the number of lanes
 * changes no bit.
 */
#include <string.h>

#include "fp16_product.h"

#define VECTORS (FP16_GROUP / LANES)
#define BLOCKS_TOGETHER 8 /* their weights as floats are 16 KiB: they stay in the first cache */

typedef float lanes __attribute__((vector_size(4 * LANES)));

/* --- from fp16 ------------------------------------------------------------------------------------------------------ */

static void widen_row(const uint8_t *atoms, size_t count, size_t blocks, float *row)
{
	for (size_t i = 0; i < blocks * FP16_BLOCK / FP16_ATOM; i++) {
		halves atom;
		eight wide;

		memcpy(&atom, atoms + i * count * sizeof atom, sizeof atom);
		wide = widen(atom);
		memcpy(row + i * FP16_ATOM, &wide, sizeof wide);
	}
}

#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

/* One step of three that together transpose: rows i and i + 4 are interleaved into rows 2 i and 2 i + 1. */
static inline void interleave(halves row[8])
{
	const halves a = row[0], b = row[1], c = row[2], d = row[3], e = row[4], f = row[5], g = row[6], h = row[7];

	row[0] = LOW(a, e);
	row[1] = HIGH(a, e);
	row[2] = LOW(b, f);
	row[3] = HIGH(b, f);
	row[4] = LOW(c, g);
	row[5] = HIGH(c, g);
	row[6] = LOW(d, h);
	row[7] = HIGH(d, h);
}

/* A block of weights, column by column. */
static inline void turn_block(const uint8_t *block, float (*columns)[FP16_GROUP])
{
	for (size_t n = 0; n < FP16_GROUP; n += 8) {
		for (size_t k = 0; k < FP16_BLOCK; k += 8) {
			halves square[8];

			for (size_t i = 0; i < 8; i++) {
				memcpy(&square[i], block + ((n + i) * FP16_BLOCK + k) * 2, sizeof square[i]);
			}
			interleave(square);
			interleave(square);
			interleave(square);
			for (size_t i = 0; i < 8; i++) {
				const eight wide = widen(square[i]);

				memcpy(&columns[k + i][n], &wide, sizeof wide);
			}
		}
	}
}

/* --- products ------------------------------------------------------------------------------------------------------- */

/* Sums [FP16_GROUP / FP16_SUMS][count][FP16_SUMS] of one row of features, to its lanes and back. */
static inline void load_sums(const float *sums, size_t count, lanes total[VECTORS])
{
	float group[FP16_GROUP];

	for (size_t i = 0; i < FP16_GROUP / FP16_SUMS; i++) {
		memcpy(group + i * FP16_SUMS, sums + i * count * FP16_SUMS, FP16_SUMS * sizeof *sums);
	}
	memcpy(total, group, sizeof group);
}

static inline void store_sums(float *sums, size_t count, const lanes total[VECTORS])
{
	float group[FP16_GROUP];

	memcpy(group, total, sizeof group);
	for (size_t i = 0; i < FP16_GROUP / FP16_SUMS; i++) {
		memcpy(sums + i * count * FP16_SUMS, group + i * FP16_SUMS, FP16_SUMS * sizeof *sums);
	}
}

/* `rows` is a constant wherever this is called. */
__attribute__((always_inline)) static inline void add_rows(const float *features, size_t stride, const size_t rows,
							   float (*columns)[FP16_GROUP], size_t depth, size_t count,
							   float *sums)
{
	lanes total[TILE][VECTORS];

#pragma clang loop unroll(full)
	for (size_t row = 0; row < rows; row++) {
		load_sums(sums + row * FP16_SUMS, count, total[row]);
	}
	for (size_t k = 0; k < depth; k++) {
		lanes weights[VECTORS];

		memcpy(weights, columns[k], sizeof weights);
#pragma clang loop unroll(full)
		for (size_t row = 0; row < rows; row++) {
			for (size_t i = 0; i < VECTORS; i++) {
				total[row][i] += weights[i] * features[row * stride + k];
			}
		}
	}
#pragma clang loop unroll(full)
	for (size_t row = 0; row < rows; row++) {
		store_sums(sums + row * FP16_SUMS, count, total[row]);
	}
}

static void group(const float *features, size_t count, const uint8_t *const *block, size_t blocks, float *sums)
{
	const size_t stride = blocks * FP16_BLOCK;

	for (size_t first = 0; first < blocks; first += BLOCKS_TOGETHER) {
		const size_t together = blocks - first < BLOCKS_TOGETHER ? blocks - first : BLOCKS_TOGETHER;
		const float *part = features + first * FP16_BLOCK;
		_Alignas(64) float columns[BLOCKS_TOGETHER * FP16_BLOCK][FP16_GROUP];
		size_t row = 0;

		for (size_t i = 0; i < together; i++) {
			turn_block(block[first + i], columns + i * FP16_BLOCK);
		}
		for (; row + TILE <= count; row += TILE) {
			add_rows(part + row * stride, stride, TILE, columns, together * FP16_BLOCK, count,
				 sums + row * FP16_SUMS);
		}
		for (; row < count; row++) {
			add_rows(part + row * stride, stride, 1, columns, together * FP16_BLOCK, count,
				 sums + row * FP16_SUMS);
		}
	}
}

const struct fp16_kind KIND = {NAME, widen_row, group};
