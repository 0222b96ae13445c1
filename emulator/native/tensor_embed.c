/*
 * What a chunk of tokens begins with: their embeddings, and the sines and cosines of their positions.
 */
#include "tensor.h"

#define BLOCK_BYTES (BLOCK_ROWS * BLOCK_ROWS)

/* One row of the matrix: a piece of it lies in each block of its row group. */
static bool embed(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t row, float *result)
{
	const uint64_t group = BLOCK_ROWS * padded(columns);
	const uint64_t start = matrix + scales_bytes(rows) + row / BLOCK_ROWS * group + row % BLOCK_ROWS * BLOCK_ROWS;
	int8_t piece[BLOCK_ROWS];
	float scale;
	bool done = guest_read(port, matrix + 4 * row, &scale, 4);

	for (uint64_t column = 0; done && column < columns; column += BLOCK_ROWS) {
		const uint64_t count = columns - column < BLOCK_ROWS ? columns - column : BLOCK_ROWS;

		done = guest_read(port, start + column / BLOCK_ROWS * BLOCK_BYTES, piece, count);
		for (uint64_t i = 0; done && i < count; i++) {
			result[column + i] = (float)piece[i] * scale;
		}
	}
	scratch_clear(piece, sizeof piece);
	return done;
}

static int64_t embed_all(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, const uint32_t *token,
			 uint64_t count, float *result)
{
	for (uint64_t t = 0; t < count; t++) {
		if (token[t] >= rows) {
			return TENSOR_INVALID;
		}
		if (!embed(port, matrix, rows, columns, token[t], result + t * columns)) {
			return TENSOR_ABORT;
		}
	}
	return TENSOR_OK;
}

int64_t tensor_embed(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t tokens,
		     uint64_t count, uint64_t vectors)
{
	uint32_t token[TENSOR_MAX_COUNT];
	float *result;
	int64_t status = TENSOR_ABORT;

	STANDARD_FLOAT_MODE;
	if (!matrix_fits(matrix, rows, columns) || !aligned(tokens | vectors) || !within(count, TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	result = scratch_floats(count * columns);
	if (result == NULL) {
		return TENSOR_NO_MEMORY;
	}
	if (guest_read(port, tokens, token, 4 * count)) {
		status = embed_all(port, matrix, rows, columns, token, count, result);
	}
	if (status == TENSOR_OK && !guest_write(port, vectors, result, 4 * count * columns)) {
		status = TENSOR_ABORT;
	}
	scratch_clear(token, 4 * count);
	scratch_free(result, count * columns);
	return status;
}

int64_t tensor_angles(struct port *port, uint64_t table, uint64_t head_width, uint64_t position, uint64_t count,
		      uint64_t angles)
{
	const uint64_t pairs = head_width / 2;
	uint64_t step[TENSOR_MAX_HEAD_WIDTH / 2];
	float turn[TENSOR_MAX_HEAD_WIDTH]; /* sines, then cosines */

	STANDARD_FLOAT_MODE;
	if (table % 8 != 0 || !aligned(angles) || head_width % 2 != 0 || !within(head_width, TENSOR_MAX_HEAD_WIDTH) ||
	    !within(count, TENSOR_MAX_COUNT) || position >= TENSOR_MAX_TOKENS ||
	    count > TENSOR_MAX_TOKENS - position) {
		return TENSOR_INVALID;
	}
	if (!guest_read(port, table, step, 8 * pairs)) {
		return TENSOR_ABORT;
	}
	for (uint64_t t = 0; t < count; t++) {
		for (uint64_t i = 0; i < pairs; i++) {
			sine_cosine((position + t) * step[i], &turn[i], &turn[pairs + i]);
		}
		if (!guest_write(port, angles + 4 * head_width * t, turn, 4 * head_width)) {
			return TENSOR_ABORT;
		}
	}
	return TENSOR_OK;
}
