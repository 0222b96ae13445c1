/*
 * The two ends of a matrix product: the sums that come out of it, and the quantised vectors that go into the next.
 */
#include "tensor.h"

#include <stdlib.h>

#include "tensor_lanes.h"

float *scratch_floats(uint64_t count)
{
	return aligned_alloc(64, (4 * count + 63) / 64 * 64);
}

void scratch_free(float *scratch, uint64_t count)
{
	if (scratch != NULL) {
		scratch_clear(scratch, 4 * count);
		free(scratch);
	}
}

int64_t products_open(struct products *products, struct port *port, uint64_t matrix, uint64_t activation,
		      uint64_t sums, uint64_t rows, uint64_t count)
{
	int64_t status;

	memset(products, 0, sizeof *products);
	products->rows = rows;
	products->count = count;
	if (!matrix_fits(matrix, rows, 1) || !block_aligned(activation) || !aligned(sums) ||
	    !within(count, TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	status = view_flat(&products->row_scales, port, matrix, scales_bytes(rows), false);
	if (status == TENSOR_OK) {
		status = view_flat(&products->scales, port, activation, scales_bytes(PLANES * count), false);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&products->sums, port, sums, sums_bytes(rows, PLANES * count), false);
	}
	return status;
}

void products_close(struct products *products)
{
	view_close(&products->row_scales, false);
	view_close(&products->scales, false);
	view_close(&products->sums, false);
}

void products_dequantise(const struct products *products, uint64_t first, uint64_t count, float *vectors,
			 uint64_t stride)
{
	const int32_t *sums = (const int32_t *)products->sums.flat;
	const float(*scales)[PLANES] = (const float(*)[PLANES])products->scales.flat;

	lanes()->dequantise(sums + SUM_ATOM * PLANES * first, PLANES * products->count,
			    (const float *)products->row_scales.flat, products->rows, scales + first, count, vectors,
			    stride);
}

int64_t activation_open(struct activation *activation, struct port *port, uint64_t address, uint64_t columns,
			uint64_t count)
{
	memset(activation, 0, sizeof *activation);
	activation->columns = columns;
	activation->count = count;
	if (!block_aligned(address) || !within(columns, TENSOR_MAX_WIDTH) || !within(count, TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	return view_flat(&activation->view, port, address, activation_bytes(columns, count), true);
}

void activation_close(struct activation *activation, bool keep)
{
	view_close(&activation->view, keep);
}

int64_t activation_write(struct activation *activation, uint64_t first, uint64_t count, float *vectors,
			 uint64_t stride)
{
	const uint64_t columns = padded(activation->columns);
	const uint64_t scratch_size = count * PLANES * columns / sizeof(float);
	const uint64_t atom_row = PLANES * FEATURE_ATOM * activation->count; /* from an atom to the next column's */
	float *scale = (float *)activation->view.flat + PLANES * first;
	int8_t *feature = (int8_t *)activation->view.flat + scales_bytes(PLANES * activation->count) +
			  PLANES * FEATURE_ATOM * first;
	float *scratch = scratch_floats(scratch_size);
	int8_t *planes = (int8_t *)scratch; /* [count][PLANES][columns] */
	bool finite = true;

	if (scratch == NULL) {
		return TENSOR_NO_MEMORY;
	}
	for (uint64_t t = 0; t < count; t++) {
		int8_t *plane = planes + t * PLANES * columns;

		finite = lanes()->quantise(vectors + t * stride, activation->columns, columns, scale + PLANES * t,
					   plane, plane + columns) &&
			 finite;
	}
	for (uint64_t column = 0; finite && column < columns; column += FEATURE_ATOM, feature += atom_row) {
		for (uint64_t row = 0; row < PLANES * count; row++) {
			memcpy(feature + row * FEATURE_ATOM, planes + row * columns + column, FEATURE_ATOM);
		}
	}
	scratch_free(scratch, scratch_size);
	return finite ? TENSOR_OK : TENSOR_NOT_FINITE;
}
