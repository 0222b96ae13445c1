/*
 * Products that others compute: handed over, taken back, and checked on the way. What is checked is the copy that is
 * used, so that nobody can change it in between.
 */
#include "tensor.h"
#include "tensor_lanes.h"
#include "product_check_api.h"
#include "workers.h"

#define BLOCK BLOCK_ROWS

static bool sizes_fit(uint64_t width, uint64_t limit, uint64_t count, uint64_t tile, uint64_t element)
{
	return within(width, limit) && within(count, CHECK_MAX_COUNT) && within(tile, count) &&
	       padded(width) * count * element <= CHECK_MAX_BYTES;
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
	struct secrets halves;
	uint64_t secrets[BLOCK];
	bool projected = true;

	for (uint64_t row = 0; projected && row < rows; row += BLOCK) {
		lanes()->make_secrets(key, first + row, BLOCK, &halves);
		for (unsigned i = 0; i < BLOCK; i++) {
			secrets[i] = (uint64_t)(int64_t)halves.low[i] + ((uint64_t)halves.high[i] << 32);
		}
		for (uint64_t column = 0; projected && column < columns; column += BLOCK) {
			const uint8_t *block = walk_view(&walk, walk.address, sizeof bounce, bounce);

			projected = block != NULL;
			if (projected) {
				project_block((const int8_t(*)[BLOCK])block, secrets, projection + column);
			}
		}
	}
	scratch_clear(&halves, sizeof halves);
	scratch_clear(secrets, sizeof secrets);
	return projected;
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

/* One layout of `groups` x `count` atoms from `whole` to its tiles, or back; of groups `from` up to `end`. */
static void move_tiles(uint8_t *tiles, uint8_t *whole, uint64_t groups, uint64_t count, uint64_t tile, uint64_t from,
		       uint64_t end, bool out)
{
	for (uint64_t first = 0; first < count; first += tile) {
		const uint64_t rows = count - first < tile ? count - first : tile;
		uint8_t *part = tiles + first * groups * FEATURE_ATOM;

		for (uint64_t group = from; group < end; group++) {
			uint8_t *here = whole + (group * count + first) * FEATURE_ATOM;
			uint8_t *there = part + group * rows * FEATURE_ATOM;

			memcpy(out ? there : here, out ? here : there, rows * FEATURE_ATOM);
		}
	}
}

#define ROWS_OF_A_TASK 16

struct offer {
	struct view features;
	struct view projection;
	struct view expected;
	uint64_t groups;
	uint64_t count;
};

static void expect(void *context, uint64_t item)
{
	struct offer *offer = context;
	const uint64_t first = item * ROWS_OF_A_TASK;
	const uint64_t end = offer->count - first < ROWS_OF_A_TASK ? offer->count : first + ROWS_OF_A_TASK;

	lanes()->project_features((const int8_t *)offer->features.flat, offer->groups, offer->count, first, end,
				  (const uint64_t *)offer->projection.flat, (uint64_t *)offer->expected.flat);
}

int64_t check_offer(struct port *port, uint64_t features, uint64_t columns, uint64_t count, uint64_t tile,
		    uint64_t projection, uint64_t staging, uint64_t expected)
{
	const uint64_t width = padded(columns);
	struct offer offer = {.groups = width / FEATURE_ATOM, .count = count};
	struct view output = {0};
	int64_t status;

	if (!sizes_fit(columns, TENSOR_MAX_WIDTH, count, tile, 1)) {
		return TENSOR_INVALID;
	}
	status = view_flat(&offer.features, port, features, width * count, false);
	if (status == TENSOR_OK) {
		status = view_flat(&offer.projection, port, projection, width * sizeof(uint64_t), false);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&offer.expected, port, expected, count * sizeof(uint64_t), true);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&output, port, staging, width * count, true);
	}
	if (status == TENSOR_OK) {
		memset(offer.expected.flat, 0, count * sizeof(uint64_t));
		workers_run(expect, &offer, (count + ROWS_OF_A_TASK - 1) / ROWS_OF_A_TASK);
		move_tiles(output.flat, offer.features.flat, offer.groups, count, tile, 0, offer.groups, true);
	}
	view_close(&offer.features, false);
	view_close(&offer.projection, false);
	view_close(&offer.expected, status == TENSOR_OK);
	view_close(&output, status == TENSOR_OK);
	return status;
}

/* --- sums, on their way back --------------------------------------------------------------------------------------- */

#define SECRET_GROUPS (MOST_SECRETS / SUM_ATOM)
#define CHUNK_BYTES (64 << 10) /* that a task takes, if there are as many */

struct acceptance {
	struct view staged;
	struct view sums;
	uint64_t groups;
	uint64_t count;
	uint64_t tile;
	uint64_t key;
	uint64_t first; /* row of the first */
	uint64_t chunk; /* groups of a task */
	_Atomic uint64_t *found;
};

/* Groups from `from` up to `end`, as many as there is room for secrets. */
static void accept_groups(struct acceptance *acceptance, uint64_t from, uint64_t end, uint64_t *found)
{
	const int32_t *copy = (const int32_t *)acceptance->sums.flat + from * acceptance->count * SUM_ATOM;
	const uint64_t rows = (end - from) * SUM_ATOM;
	struct secrets secrets;

	lanes()->make_secrets(acceptance->key, acceptance->first + from * SUM_ATOM, rows, &secrets);
	move_tiles(acceptance->staged.flat, acceptance->sums.flat, acceptance->groups, acceptance->count, acceptance->tile,
		   from, end, false);
	lanes()->project_sums(copy, end - from, acceptance->count, &secrets, found);
	scratch_clear(secrets.low, rows * sizeof *secrets.low);
	scratch_clear(secrets.high, rows * sizeof *secrets.high);
}

static void accept_chunk(void *context, uint64_t item)
{
	struct acceptance *acceptance = context;
	const uint64_t first = item * acceptance->chunk;
	const uint64_t end = acceptance->groups - first < acceptance->chunk ? acceptance->groups : first + acceptance->chunk;
	uint64_t found[CHECK_MAX_COUNT];

	memset(found, 0, acceptance->count * sizeof *found);
	for (uint64_t from = first; from < end; from += SECRET_GROUPS) {
		accept_groups(acceptance, from, end - from < SECRET_GROUPS ? end : from + SECRET_GROUPS, found);
	}
	for (uint64_t m = 0; m < acceptance->count; m++) {
		acceptance->found[m] += found[m];
	}
	scratch_clear(found, acceptance->count * sizeof *found);
}

static int64_t accept(struct port *port, const uint64_t *result, struct acceptance *acceptance)
{
	const uint64_t rows = result[1];
	const uint64_t bytes = sums_bytes(rows, acceptance->count);
	int64_t status;

	if (!sizes_fit(rows, TENSOR_MAX_ROWS, acceptance->count, acceptance->tile, sizeof(int32_t))) {
		return TENSOR_INVALID;
	}
	acceptance->groups = padded(rows) / SUM_ATOM;
	status = view_flat(&acceptance->staged, port, result[0], bytes, false);
	if (status == TENSOR_OK) {
		status = view_flat(&acceptance->sums, port, result[2], bytes, true);
	}
	if (status == TENSOR_OK) {
		workers_run(accept_chunk, acceptance, (acceptance->groups + acceptance->chunk - 1) / acceptance->chunk);
	}
	view_close(&acceptance->staged, false);
	view_close(&acceptance->sums, status == TENSOR_OK);
	acceptance->first += padded(rows);
	return status;
}

static int64_t agrees(struct port *port, uint64_t expected, const _Atomic uint64_t *found, uint64_t count)
{
	struct view numbers = {0};
	int64_t status = view_flat(&numbers, port, expected, count * sizeof(uint64_t), false);
	uint64_t difference = 0;

	for (uint64_t m = 0; status == TENSOR_OK && m < count; m++) {
		difference |= ((const uint64_t *)numbers.flat)[m] ^ found[m];
	}
	view_close(&numbers, false);
	return status == TENSOR_OK ? !difference : status;
}

int64_t check_accept(struct port *port, const uint64_t *results, uint64_t products, uint64_t count, uint64_t tile,
		     uint64_t key, uint64_t expected)
{
	uint64_t groups = CHUNK_BYTES / (within(count, CHECK_MAX_COUNT) ? count * SUM_ATOM * sizeof(int32_t) : 1);
	_Atomic uint64_t found[CHECK_MAX_COUNT];
	struct acceptance acceptance = {.count = count, .tile = tile, .key = key, .found = found};
	int64_t status = within(count, CHECK_MAX_COUNT) ? TENSOR_OK : TENSOR_INVALID;

	for (uint64_t m = 0; status == TENSOR_OK && m < count; m++) {
		found[m] = 0;
	}
	acceptance.chunk = groups == 0 ? 1 : groups;
	for (uint64_t i = 0; status == TENSOR_OK && i < products; i++) {
		status = accept(port, results + 3 * i, &acceptance);
	}
	if (status == TENSOR_OK) {
		status = agrees(port, expected, found, count);
	}
	if (within(count, CHECK_MAX_COUNT)) {
		scratch_clear((void *)found, count * sizeof *found);
	}
	return status;
}
