/*
 * Matrix products and the embedding: the operations that read int8 rows.
 */
#include "tensor.h"

static bool matrix_fits(uint64_t matrix, uint64_t rows, uint64_t columns)
{
	return aligned(matrix) && within(rows, TENSOR_MAX_ROWS) && within(columns, TENSOR_MAX_WIDTH);
}

static uint64_t row_address(uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t row)
{
	return matrix + 4 * rows + row * columns;
}

int64_t tensor_embed(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t row,
		     uint64_t output)
{
	int8_t source[TENSOR_MAX_WIDTH];
	float result[TENSOR_MAX_WIDTH];
	float scale;
	bool done;

	STANDARD_FLOAT_MODE;
	if (!matrix_fits(matrix, rows, columns) || row >= rows || !aligned(output)) {
		return TENSOR_INVALID;
	}
	done = guest_read(port, matrix + 4 * row, &scale, 4) &&
	       guest_read(port, row_address(matrix, rows, columns, row), source, columns);
	if (done) {
		for (uint64_t i = 0; i < columns; i++) {
			result[i] = (float)source[i] * scale;
		}
		done = guest_write(port, output, result, 4 * columns);
	}
	scratch_clear(source, columns);
	scratch_clear(result, 4 * columns);
	return done ? TENSOR_OK : TENSOR_ABORT;
}

/* One row with both planes, in as many pieces as it has pages. */
static bool dot_row(struct walk *row, const struct quantised *input, uint64_t columns, int32_t *total)
{
	uint64_t run;

	total[COARSE] = total[FINE] = 0;
	for (uint64_t done = 0; done < columns; done += run) {
		const int8_t *weights = (const int8_t *)walk_next(row, columns - done, &run);

		if (weights == NULL) {
			return false;
		}
		tensor_dot(weights, input->value + done, input->value + columns + done, run, total);
	}
	return true;
}

static bool linear(struct walk *rows, struct walk *scales, struct walk *output, const struct quantised *input,
		   uint64_t columns, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t run;
		int32_t total[PLANES];
		float scale, result;
		const uint8_t *source;
		uint8_t *target;

		if (!dot_row(rows, input, columns, total)) {
			return false;
		}
		source = walk_next(scales, 4, &run); /* aligned: never across pages */
		target = source != NULL ? walk_next(output, 4, &run) : NULL;
		if (target == NULL) {
			return false;
		}
		memcpy(&scale, source, 4);
		result = (float)total[COARSE] * (input->scale[COARSE] * scale) +
			 (float)total[FINE] * (input->scale[FINE] * scale);
		memcpy(target, &result, 4);
	}
	return true;
}

int64_t tensor_linear(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t first,
		      uint64_t count, uint64_t input, uint64_t output)
{
	struct walk weights = walk_reading(port, row_address(matrix, rows, columns, first));
	struct walk scales = walk_reading(port, matrix + 4 * first);
	struct walk results = walk_writing(port, output + 4 * first);
	struct quantised vector;
	bool done;

	STANDARD_FLOAT_MODE;
	if (!matrix_fits(matrix, rows, columns) || first > rows || count > rows - first || !aligned(input) ||
	    !aligned(output)) {
		return TENSOR_INVALID;
	}
	done = guest_read(port, input, &vector, QUANTISED_BYTES(columns)) &&
	       linear(&weights, &scales, &results, &vector, columns, count);
	scratch_clear(&vector, QUANTISED_BYTES(columns));
	return done ? TENSOR_OK : TENSOR_ABORT;
}
