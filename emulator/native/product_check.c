/*
 * Products that others compute: handed over, taken back, and checked on the way. What is checked is the copy that is
 * used, so that nobody can change it in between.
 */
#include <stdlib.h>

#include "tensor.h"
#include "tensor_lanes.h"
#include "product_check_api.h"

#define BLOCK BLOCK_ROWS

/* The secret number of a row: SplitMix64 (Steele, Lea, Flood 2014), whose state after n steps is key + n * gamma. */
static uint64_t secret(uint64_t key, uint64_t row)
{
	uint64_t z = key + (row + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static bool sizes_fit(uint64_t width, uint64_t limit, uint64_t count, uint64_t tile, uint64_t element)
{
	return within(width, limit) && within(count, CHECK_MAX_COUNT) && within(tile, count) &&
	       padded(width) * count * element <= CHECK_MAX_BYTES;
}

/* A copy of guest memory; NULL: the port recorded an abort, or the host has no memory. */
static void *take(struct port *port, uint64_t address, uint64_t bytes)
{
	void *data = malloc(bytes);

	if (data && !guest_read(port, address, data, bytes)) {
		scratch_clear(data, bytes);
		free(data);
		return NULL;
	}
	return data;
}

static void drop(void *data, uint64_t bytes)
{
	if (data) {
		scratch_clear(data, bytes);
		free(data);
	}
}

/* --- the projection of a matrix ----------------------------------------------------------------------------------- */

static void project_block(const int8_t (*block)[BLOCK], const uint64_t *secrets, uint64_t *projection)
{
	for (unsigned row = 0; row < BLOCK; row++) {
		for (unsigned column = 0; column < BLOCK; column++) {
			projection[column] += secrets[row] * (uint64_t)(int64_t)block[row][column];
		}
	}
}

static bool project(struct port *port, uint64_t weights, uint64_t rows, uint64_t columns, uint64_t key, uint64_t first,
		    uint64_t *projection)
{
	struct walk walk = walk_reading(port, weights);
	uint8_t bounce[BLOCK * BLOCK];

	for (uint64_t row = 0; row < rows; row += BLOCK) {
		uint64_t secrets[BLOCK];

		for (unsigned i = 0; i < BLOCK; i++) {
			secrets[i] = secret(key, first + row + i);
		}
		for (uint64_t column = 0; column < columns; column += BLOCK) {
			const uint8_t *block = walk_view(&walk, walk.address, sizeof bounce, bounce);

			if (!block) {
				return false;
			}
			project_block((const int8_t(*)[BLOCK])block, secrets, projection + column);
		}
	}
	return true;
}

int64_t check_project(struct port *port, uint64_t weights, uint64_t rows, uint64_t columns, uint64_t key,
		      uint64_t first, uint64_t add, uint64_t projection)
{
	uint64_t sums[TENSOR_MAX_WIDTH] = {0};
	uint64_t bytes = padded(columns) * sizeof *sums;
	int64_t status = TENSOR_ABORT;

	if (!within(rows, TENSOR_MAX_ROWS) || !within(columns, TENSOR_MAX_WIDTH)) {
		return TENSOR_INVALID;
	}
	if ((!add || guest_read(port, projection, sums, bytes)) &&
	    project(port, weights, padded(rows), padded(columns), key, first, sums) &&
	    guest_write(port, projection, sums, bytes)) {
		status = TENSOR_OK;
	}
	scratch_clear(sums, bytes);
	return status;
}

/* --- features, on their way out -------------------------------------------------------------------------------------- */

/* Between one layout of `groups` x `count` atoms and its tiles, one of which is `rows` rows from `first` on. */
static bool move_tile(struct port *port, uint64_t tile, uint8_t *whole, uint64_t groups, uint64_t count, uint64_t first,
		      uint64_t rows, bool out)
{
	struct walk walk = out ? walk_writing(port, tile) : walk_reading(port, tile);
	uint64_t bytes = groups * rows * FEATURE_ATOM, done = 0, run;
	uint8_t *host;

	for (; done < bytes; done += run) {
		uint64_t in_row = done % (rows * FEATURE_ATOM);
		uint64_t at = done / (rows * FEATURE_ATOM) * count * FEATURE_ATOM + first * FEATURE_ATOM + in_row;

		host = walk_next(&walk, rows * FEATURE_ATOM - in_row, &run);
		if (!host) {
			return false;
		}
		memcpy(out ? host : whole + at, out ? whole + at : host, run);
	}
	return true;
}

static bool move_tiles(struct port *port, uint64_t staging, uint8_t *whole, uint64_t groups, uint64_t count,
		       uint64_t tile, bool out)
{
	bool moved = true;

	for (uint64_t first = 0; moved && first < count; first += tile) {
		uint64_t rows = count - first < tile ? count - first : tile;

		moved = move_tile(port, staging + first * groups * FEATURE_ATOM, whole, groups, count, first, rows, out);
	}
	return moved;
}

int64_t check_offer(struct port *port, uint64_t features, uint64_t columns, uint64_t count, uint64_t tile,
		    uint64_t projection, uint64_t staging, uint64_t expected)
{
	uint64_t width = padded(columns), bytes = width * count;
	uint8_t *copy;
	uint64_t *weights, *result;
	int64_t status = TENSOR_ABORT;

	if (!sizes_fit(columns, TENSOR_MAX_WIDTH, count, tile, 1)) {
		return TENSOR_INVALID;
	}
	copy = take(port, features, bytes);
	weights = copy ? take(port, projection, width * sizeof *weights) : NULL;
	result = weights ? calloc(count, sizeof *result) : NULL;
	if (result) {
		lanes()->project_features((const int8_t *)copy, width / FEATURE_ATOM, count, weights, result);
		if (move_tiles(port, staging, copy, width / FEATURE_ATOM, count, tile, true) &&
		    guest_write(port, expected, result, count * sizeof *result)) {
			status = TENSOR_OK;
		}
	}
	drop(result, count * sizeof *result);
	drop(weights, width * sizeof *weights);
	drop(copy, bytes);
	return status;
}

/* --- sums, on their way back --------------------------------------------------------------------------------------- */

/* The secret numbers of `rows` rows from number `first` on; NULL: the host has no memory. */
static uint64_t *secrets_of(uint64_t key, uint64_t first, uint64_t rows)
{
	uint64_t *secrets = malloc(rows * sizeof *secrets);

	for (uint64_t row = 0; secrets && row < rows; row++) {
		secrets[row] = secret(key, first + row);
	}
	return secrets;
}

int64_t check_accept(struct port *port, uint64_t staging, uint64_t rows, uint64_t count, uint64_t tile, uint64_t key,
		     uint64_t first, uint64_t sums, uint64_t *found)
{
	uint64_t height = padded(rows), bytes = height * count * sizeof(int32_t);
	int64_t status = TENSOR_ABORT;
	uint64_t *secrets;
	uint8_t *copy;

	if (!sizes_fit(rows, TENSOR_MAX_ROWS, count, tile, sizeof(int32_t))) {
		return TENSOR_INVALID;
	}
	copy = malloc(bytes);
	secrets = copy ? secrets_of(key, first, height) : NULL;
	if (secrets && move_tiles(port, staging, copy, height / SUM_ATOM, count, tile, false)) {
		lanes()->project_sums((const int32_t *)copy, height / SUM_ATOM, count, secrets, found);
		if (guest_write(port, sums, copy, bytes)) {
			status = TENSOR_OK;
		}
	}
	drop(secrets, height * sizeof *secrets);
	drop(copy, bytes);
	return status;
}

int64_t check_agrees(struct port *port, uint64_t expected, const uint64_t *found, uint64_t count)
{
	uint64_t *numbers = take(port, expected, count * sizeof *numbers);
	uint64_t difference = 0;

	if (!numbers) {
		return TENSOR_ABORT;
	}
	for (uint64_t m = 0; m < count; m++) {
		difference |= numbers[m] ^ found[m];
	}
	drop(numbers, count * sizeof *numbers);
	return !difference;
}
