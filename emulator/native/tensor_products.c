/*
 * Matrix products of int8 weights in blocks: sums that are exact, so that their order does not matter.
 */
#include "tensor.h"

#include <stdlib.h>

#define BLOCK_BYTES (BLOCK_ROWS * BLOCK_ROWS)

/* A matrix product in host memory: the blocks of the weights wherever their pages are. */
struct product {
	const int8_t **block; /* [row groups][column groups] */
	const int8_t *features;
	int32_t *sums;
	uint64_t row_groups;
	uint64_t column_groups;
	uint64_t feature_rows;
};

static int32_t dot(const int8_t *weights, const int8_t *features)
{
	int32_t total = 0;

	for (unsigned i = 0; i < FEATURE_ATOM; i++) {
		total += weights[i] * features[i];
	}
	return total;
}

/* The sums of 32 rows with one row of features. */
static void multiply_row(const struct product *product, uint64_t group, uint64_t feature_row, int32_t *sums)
{
	memset(sums, 0, BLOCK_ROWS * sizeof *sums);
	for (uint64_t column = 0; column < product->column_groups; column++) {
		const int8_t *block = product->block[group * product->column_groups + column];
		const uint64_t next = product->feature_rows * FEATURE_ATOM;
		const int8_t *first = product->features + 2 * column * next + feature_row * FEATURE_ATOM;

		for (unsigned row = 0; row < BLOCK_ROWS; row++, block += BLOCK_ROWS) {
			sums[row] += dot(block, first) + dot(block + FEATURE_ATOM, first + next);
		}
	}
}

static void multiply_group(void *context, uint64_t group)
{
	const struct product *product = context;
	int32_t *sums = product->sums + group * BLOCK_ROWS * product->feature_rows;
	int32_t row_sums[BLOCK_ROWS];

	for (uint64_t feature_row = 0; feature_row < product->feature_rows; feature_row++) {
		multiply_row(product, group, feature_row, row_sums);
		for (unsigned row = 0; row < BLOCK_ROWS; row += SUM_ATOM) {
			memcpy(sums + (row * product->feature_rows + SUM_ATOM * feature_row), row_sums + row,
			       SUM_ATOM * sizeof *sums);
		}
	}
}

/* A block never crosses pages, for it begins at a multiple of its size. */
static bool list_blocks(struct product *product, const struct view *weights)
{
	const uint64_t count = product->row_groups * product->column_groups;

	product->block = malloc(count * sizeof *product->block);
	if (product->block == NULL) {
		return false;
	}
	for (uint64_t i = 0; i < count; i++) {
		product->block[i] = view_at(weights, i * BLOCK_BYTES, BLOCK_BYTES, NULL);
	}
	return true;
}

int64_t tensor_products(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t features,
			uint64_t feature_rows, uint64_t sums)
{
	struct product product = {.feature_rows = feature_rows};
	struct view weights = {0};
	struct view input = {0};
	struct view output = {0};
	int64_t status;

	if (!matrix_fits(matrix, rows, columns) || !block_aligned(features) || !aligned(sums) ||
	    !within(feature_rows, PLANES * TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	product.row_groups = padded(rows) / BLOCK_ROWS;
	product.column_groups = padded(columns) / BLOCK_ROWS;
	status = view_pages(&weights, port, matrix + scales_bytes(rows),
			    product.row_groups * product.column_groups * BLOCK_BYTES);
	if (status == TENSOR_OK) {
		status = view_flat(&input, port, features, features_bytes(columns, feature_rows), false);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&output, port, sums, sums_bytes(rows, feature_rows), true);
	}
	if (status == TENSOR_OK && !list_blocks(&product, &weights)) {
		status = TENSOR_NO_MEMORY;
	}
	if (status == TENSOR_OK) {
		product.features = (const int8_t *)input.flat;
		product.sums = (int32_t *)output.flat;
		tensor_parallel(multiply_group, &product, product.row_groups);
	}
	free(product.block);
	view_close(&weights, false);
	view_close(&input, false);
	view_close(&output, status == TENSOR_OK);
	return status;
}
