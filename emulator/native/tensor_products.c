/*
 * Matrix products of int8 weights in blocks: sums that are exact, so that their order does not matter.
 */
#include "tensor.h"

#include <stdlib.h>

#include "int8_product.h"

/* A block never crosses pages, for it begins at a multiple of its size. */
static const int8_t **list_blocks(const struct view *weights)
{
	const uint64_t count = weights->bytes / INT8_BLOCK;
	const int8_t **block = malloc(count * sizeof *block);

	for (uint64_t i = 0; block != NULL && i < count; i++) {
		block[i] = view_at(weights, i * INT8_BLOCK, INT8_BLOCK, NULL);
	}
	return block;
}

int64_t tensor_products(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t features,
			uint64_t feature_rows, uint64_t sums)
{
	struct int8_product product = {.count = feature_rows};
	struct view weights = {0};
	struct view input = {0};
	struct view output = {0};
	const int8_t **block = NULL;
	int64_t status;

	if (!matrix_fits(matrix, rows, columns) || !block_aligned(features) || !aligned(sums) ||
	    !within(feature_rows, PLANES * TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	product.groups = padded(rows) / INT8_GROUP;
	product.blocks = padded(columns) / INT8_GROUP;
	status = view_pages(&weights, port, matrix + scales_bytes(rows),
			    product.groups * product.blocks * INT8_BLOCK);
	if (status == TENSOR_OK) {
		status = view_flat(&input, port, features, features_bytes(columns, feature_rows), false);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&output, port, sums, sums_bytes(rows, feature_rows), true);
	}
	if (status == TENSOR_OK) {
		block = list_blocks(&weights);
		product.block = block;
		product.features = (const int8_t *)input.flat;
		product.sums = (int32_t *)output.flat;
		status = block != NULL && int8_product(&product) ? TENSOR_OK : TENSOR_NO_MEMORY;
	}
	free(block);
	view_close(&weights, false);
	view_close(&input, false);
	view_close(&output, status == TENSOR_OK);
	return status;
}
