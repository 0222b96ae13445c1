/*
 * Operations on whole vectors, TILE tokens at a time.
 */
#include "tensor.h"
#include "tensor_lanes.h"
#include "workers.h"

struct segment {
	struct outcome outcome;
	struct products products[2];
	struct view vectors;
	struct view gain;
	struct activation activation;
	uint64_t width;
	uint64_t count;
	float epsilon;
};

static uint64_t tiles(uint64_t count)
{
	return (count + TILE - 1) / TILE;
}

static uint64_t tokens_of(const struct segment *segment, uint64_t tile)
{
	const uint64_t left = segment->count - tile * TILE;

	return left < TILE ? left : TILE;
}

static float *vector_of(const struct segment *segment, uint64_t token)
{
	return (float *)segment->vectors.flat + token * segment->width;
}

/* Runs the tiles if everything could be opened, and closes it. */
static int64_t perform(struct segment *segment, int64_t status, void (*task)(void *context, uint64_t tile))
{
	STANDARD_FLOAT_MODE;
	if (status == TENSOR_OK) {
		workers_run(task, segment, tiles(segment->count));
		status = segment->outcome.status;
	}
	products_close(&segment->products[0]);
	products_close(&segment->products[1]);
	view_close(&segment->vectors, status == TENSOR_OK);
	view_close(&segment->gain, false);
	activation_close(&segment->activation, status == TENSOR_OK);
	return status;
}

static int64_t open_vectors(struct segment *segment, struct port *port, uint64_t address, uint64_t width,
			    uint64_t count, bool write)
{
	segment->width = width;
	segment->count = count;
	if (!aligned(address) || !within(width, TENSOR_MAX_ROWS) || !within(count, TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	return view_flat(&segment->vectors, port, address, 4 * width * count, write);
}

static void normalise_tile(void *context, uint64_t tile)
{
	struct segment *segment = context;
	const uint64_t first = tile * TILE;
	const uint64_t count = tokens_of(segment, tile);
	const uint64_t scratch_size = count * segment->width;
	float *scratch = scratch_floats(scratch_size);
	int64_t status = TENSOR_NO_MEMORY;

	if (scratch != NULL) {
		for (uint64_t t = 0; t < count; t++) {
			lanes()->normalise(vector_of(segment, first + t), (const float *)segment->gain.flat,
					   segment->width, segment->epsilon, scratch + t * segment->width);
		}
		status = activation_write(&segment->activation, first, count, scratch, segment->width);
	}
	scratch_free(scratch, scratch_size);
	outcome_note(&segment->outcome, status);
}

int64_t tensor_normalise(struct port *port, uint64_t vectors, uint64_t gain, uint64_t columns, uint64_t epsilon_bits,
			 uint64_t count, uint64_t activation)
{
	struct segment segment = {.epsilon = float_of_bits(epsilon_bits)};
	int64_t status;

	if (!within(columns, TENSOR_MAX_WIDTH) || !aligned(gain) || !block_aligned(activation)) {
		return TENSOR_INVALID;
	}
	status = open_vectors(&segment, port, vectors, columns, count, false);
	if (status == TENSOR_OK) {
		status = view_flat(&segment.gain, port, gain, 4 * columns, false);
	}
	if (status == TENSOR_OK) {
		status = activation_open(&segment.activation, port, activation, columns, count);
	}
	return perform(&segment, status, normalise_tile);
}

static void swiglu_tile(void *context, uint64_t tile)
{
	struct segment *segment = context;
	const uint64_t first = tile * TILE;
	const uint64_t count = tokens_of(segment, tile);
	const uint64_t stride = padded(segment->width);
	const uint64_t scratch_size = 2 * count * stride;
	float *gate = scratch_floats(scratch_size);
	int64_t status = TENSOR_NO_MEMORY;

	if (gate != NULL) {
		float *up = gate + count * stride;

		products_dequantise(&segment->products[0], first, count, gate, stride);
		products_dequantise(&segment->products[1], first, count, up, stride);
		for (uint64_t t = 0; t < count; t++) {
			lanes()->swiglu(gate + t * stride, up + t * stride, segment->width);
		}
		status = activation_write(&segment->activation, first, count, gate, stride);
	}
	scratch_free(gate, scratch_size);
	outcome_note(&segment->outcome, status);
}

int64_t tensor_swiglu(struct port *port, uint64_t gate, uint64_t up, uint64_t activation, uint64_t sums, uint64_t rows,
		      uint64_t count, uint64_t output)
{
	struct segment segment = {.width = rows, .count = count};
	int64_t status;

	if (!within(rows, TENSOR_MAX_WIDTH) || !block_aligned(gate | up | output)) {
		return TENSOR_INVALID;
	}
	status = products_open(&segment.products[0], port, gate, activation, sums, rows, count);
	if (status == TENSOR_OK) {
		status = products_open(&segment.products[1], port, up, activation,
				       sums + sums_bytes(rows, PLANES * count), rows, count);
	}
	if (status == TENSOR_OK) {
		status = activation_open(&segment.activation, port, output, rows, count);
	}
	return perform(&segment, status, swiglu_tile);
}

/* The products of a tile as vectors, added to those that are there, or put in their place. */
static void take_products(struct segment *segment, uint64_t tile, bool add)
{
	const uint64_t first = tile * TILE;
	const uint64_t count = tokens_of(segment, tile);
	const uint64_t stride = padded(segment->width);
	const uint64_t scratch_size = count * stride;
	float *scratch = scratch_floats(scratch_size);

	if (scratch == NULL) {
		outcome_note(&segment->outcome, TENSOR_NO_MEMORY);
		return;
	}
	products_dequantise(&segment->products[0], first, count, scratch, stride);
	for (uint64_t t = 0; t < count; t++) {
		if (add) {
			lanes()->add(vector_of(segment, first + t), scratch + t * stride, segment->width);
		} else {
			memcpy(vector_of(segment, first + t), scratch + t * stride, 4 * segment->width);
		}
	}
	scratch_free(scratch, scratch_size);
}

static void add_tile(void *context, uint64_t tile)
{
	take_products(context, tile, true);
}

static void linear_tile(void *context, uint64_t tile)
{
	take_products(context, tile, false);
}

static int64_t open_linear(struct segment *segment, struct port *port, uint64_t matrix, uint64_t activation,
			   uint64_t sums, uint64_t rows, uint64_t count, uint64_t vectors)
{
	int64_t status = products_open(&segment->products[0], port, matrix, activation, sums, rows, count);

	return status == TENSOR_OK ? open_vectors(segment, port, vectors, rows, count, true) : status;
}

int64_t tensor_add(struct port *port, uint64_t matrix, uint64_t activation, uint64_t sums, uint64_t rows,
		   uint64_t count, uint64_t vectors)
{
	struct segment segment = {0};
	int64_t status = open_linear(&segment, port, matrix, activation, sums, rows, count, vectors);

	return perform(&segment, status, add_tile);
}

int64_t tensor_linear(struct port *port, uint64_t matrix, uint64_t activation, uint64_t sums, uint64_t rows,
		      uint64_t count, uint64_t vectors)
{
	struct segment segment = {0};
	int64_t status = open_linear(&segment, port, matrix, activation, sums, rows, count, vectors);

	return perform(&segment, status, linear_tile);
}
