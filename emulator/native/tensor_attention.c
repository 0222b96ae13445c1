/*
 * Attention: what the products of a chunk give to the key-value cache, and what its tokens then take from there.
 */
#include "tensor.h"

#include <math.h>
#include <stdlib.h>

#include "look_ahead.h"
#include "tensor_lanes.h"
#include "workers.h"

enum input { QUERY, KEY, VALUE, INPUTS };

struct rotation {
	struct outcome outcome;
	struct products products[INPUTS];
	struct view angles;
	struct view queries;
	struct view cache;
	uint64_t heads;
	uint64_t kv_heads;
	uint64_t head_width;
	uint64_t count;
};

/* One kind of input of a tile: dequantised, turned unless it is values, and put where it belongs. */
static void place(const struct rotation *rotation, enum input input, uint64_t first, uint64_t count, float *scratch,
		  float *target, uint64_t stride)
{
	const uint64_t heads = input == QUERY ? rotation->heads : rotation->kv_heads;
	const uint64_t width = heads * rotation->head_width;

	products_dequantise(&rotation->products[input], first, count, scratch, padded(width));
	for (uint64_t t = 0; t < count; t++) {
		float *vector = scratch + t * padded(width);

		if (input != VALUE) {
			lanes()->rotate(vector,
					(const float *)rotation->angles.flat + (first + t) * rotation->head_width,
					heads, rotation->head_width);
		}
		memcpy(target + (first + t) * stride, vector, 4 * width);
	}
}

static void rotate_tile(void *context, uint64_t tile)
{
	struct rotation *rotation = context;
	const uint64_t first = tile * TILE;
	const uint64_t count = rotation->count - first < TILE ? rotation->count - first : TILE;
	const uint64_t width = rotation->heads * rotation->head_width;
	const uint64_t kv_width = rotation->kv_heads * rotation->head_width;
	float *cache = (float *)rotation->cache.flat;
	float *scratch = scratch_floats(count * padded(width));

	if (scratch == NULL) {
		outcome_note(&rotation->outcome, TENSOR_NO_MEMORY);
		return;
	}
	place(rotation, QUERY, first, count, scratch, (float *)rotation->queries.flat, width);
	place(rotation, KEY, first, count, scratch, cache, 2 * kv_width);
	place(rotation, VALUE, first, count, scratch, cache + kv_width, 2 * kv_width);
	scratch_free(scratch, count * padded(width));
}

static bool heads_fit(uint64_t heads, uint64_t kv_heads, uint64_t head_width)
{
	return within(head_width, TENSOR_MAX_HEAD_WIDTH) && head_width % 2 == 0 &&
	       within(heads, TENSOR_MAX_WIDTH / head_width) && within(kv_heads, heads) && heads % kv_heads == 0;
}

static int64_t rotation_open(struct rotation *rotation, struct port *port, const uint64_t *matrix, uint64_t activation,
			     uint64_t sums, uint64_t angles, uint64_t queries, uint64_t cache)
{
	const uint64_t width = rotation->heads * rotation->head_width;
	const uint64_t kv_width = rotation->kv_heads * rotation->head_width;
	int64_t status = TENSOR_OK;

	for (enum input input = QUERY; input < INPUTS && status == TENSOR_OK; input++) {
		const uint64_t rows = input == QUERY ? width : kv_width;

		status = products_open(&rotation->products[input], port, matrix[input], activation, sums, rows,
				       rotation->count);
		sums += sums_bytes(rows, PLANES * rotation->count);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&rotation->angles, port, angles, 4 * rotation->head_width * rotation->count, false);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&rotation->queries, port, queries, 4 * width * rotation->count, true);
	}
	if (status == TENSOR_OK) {
		status = view_flat(&rotation->cache, port, cache, 8 * kv_width * rotation->count, true);
	}
	return status;
}

int64_t tensor_rotate(struct port *port, uint64_t query, uint64_t key, uint64_t value, uint64_t activation,
		      uint64_t sums, uint64_t angles, uint64_t heads, uint64_t kv_heads, uint64_t head_width,
		      uint64_t count, uint64_t queries, uint64_t cache)
{
	const uint64_t matrix[INPUTS] = {query, key, value};
	struct rotation rotation = {
		.heads = heads, .kv_heads = kv_heads, .head_width = head_width, .count = count};
	int64_t status;

	STANDARD_FLOAT_MODE;
	if (!heads_fit(heads, kv_heads, head_width) || !aligned(angles | queries | cache) ||
	    !within(count, TENSOR_MAX_COUNT)) {
		return TENSOR_INVALID;
	}
	status = rotation_open(&rotation, port, matrix, activation, sums, angles, queries, cache);
	if (status == TENSOR_OK) {
		workers_run(rotate_tile, &rotation, (count + TILE - 1) / TILE);
		status = rotation.outcome.status;
	}
	for (enum input input = QUERY; input < INPUTS; input++) {
		products_close(&rotation.products[input]);
	}
	view_close(&rotation.angles, false);
	view_close(&rotation.queries, status == TENSOR_OK);
	view_close(&rotation.cache, status == TENSOR_OK);
	return status;
}

#define WINDOW 256 /* cached tokens whose keys or values are at hand together */
#define QUERIES 32 /* tokens that share a pass through the cache */
#define LINE 64    /* bytes of the host's caches */
#define FEW 2      /* so many queries of a head and position take its keys as they lie, more of them from a copy */

struct attention {
	struct outcome outcome;
	struct view queries;
	struct view cache;
	struct activation output;
	float *mixed; /* [count][heads][head_width] */
	uint64_t position;
	uint64_t count;
	uint64_t heads;
	uint64_t kv_heads;
	uint64_t head_width;
	uint64_t blocks; /* of QUERIES tokens */
};

/* One key-value head, and a block of tokens with all the query heads that share it. */
struct pass {
	const struct attention *attention;
	uint64_t kv_head;
	uint64_t first; /* token of the chunk */
	uint64_t tokens;
	uint64_t group;
	uint64_t reach;  /* positions that the last token attends to */
	float *score;    /* [tokens][group][reach] */
	float *total;    /* [tokens][group] */
	float *copies;   /* [WINDOW][head_width] */
	uint64_t copied; /* of them in use */
	const float *row[WINDOW];
};

/* The rows of a window of keys (or of values), as they lie or copied. */
static void open_window(struct pass *pass, uint64_t start, uint64_t count, bool values)
{
	const struct attention *attention = pass->attention;
	const uint64_t kv_width = attention->kv_heads * attention->head_width;
	const uint64_t bytes = 4 * attention->head_width;

	for (uint64_t u = 0; u < count; u++) {
		const uint64_t element = (2 * (start + u) + values) * kv_width + pass->kv_head * attention->head_width;
		float *copy = pass->copies + u * attention->head_width;
		const float *row = view_at(&attention->cache, 4 * element, bytes, copy);

		if (row != copy && pass->tokens * pass->group > FEW) {
			memcpy(copy, row, bytes);
			row = copy;
		}
		for (uint64_t at = 0; at < bytes; at += LINE) {
			__builtin_prefetch((const char *)row + at); /* rows lie too far apart for the processor to see it */
		}
		pass->copied = row == copy && u >= pass->copied ? u + 1 : pass->copied;
		pass->row[u] = row;
	}
}

/* How many positions of a window token `t` of the pass attends to. */
static uint64_t seen(const struct pass *pass, uint64_t t, uint64_t start)
{
	const uint64_t reach = pass->attention->position + pass->first + t + 1;

	return reach <= start ? 0 : reach - start < WINDOW ? reach - start : WINDOW;
}

static uint64_t window_size(const struct pass *pass, uint64_t start)
{
	return pass->reach - start < WINDOW ? pass->reach - start : WINDOW;
}

static uint64_t vector_offset(const struct pass *pass, uint64_t t, uint64_t member)
{
	const struct attention *attention = pass->attention;

	return ((pass->first + t) * attention->heads + pass->kv_head * pass->group + member) * attention->head_width;
}

static void score_window(struct pass *pass, uint64_t start)
{
	const struct attention *attention = pass->attention;
	const float scale = 1.0f / sqrtf((float)attention->head_width);

	open_window(pass, start, window_size(pass, start), false);
	for (uint64_t i = 0; i < pass->tokens * pass->group; i++) {
		const uint64_t t = i / pass->group;
		const float *query = (const float *)attention->queries.flat + vector_offset(pass, t, i % pass->group);

		lanes()->score(query, pass->row, seen(pass, t, start), attention->head_width, scale,
			       pass->score + i * pass->reach + start);
	}
}

static void mix_window(struct pass *pass, uint64_t start)
{
	const struct attention *attention = pass->attention;

	open_window(pass, start, window_size(pass, start), true);
	for (uint64_t i = 0; i < pass->tokens * pass->group; i++) {
		const uint64_t t = i / pass->group;

		lanes()->mix(pass->score + i * pass->reach + start, pass->row, seen(pass, t, start),
			     attention->head_width, attention->mixed + vector_offset(pass, t, i % pass->group));
	}
}

static int64_t attend(struct pass *pass)
{
	const uint64_t head_width = pass->attention->head_width;

	for (uint64_t start = 0; start < pass->reach; start += WINDOW) {
		score_window(pass, start);
	}
	for (uint64_t i = 0; i < pass->tokens * pass->group; i++) {
		const uint64_t reach = pass->attention->position + pass->first + i / pass->group + 1;

		if (!lanes()->weigh(pass->score + i * pass->reach, reach, &pass->total[i])) {
			return TENSOR_NOT_FINITE;
		}
	}
	for (uint64_t start = 0; start < pass->reach; start += WINDOW) {
		mix_window(pass, start);
	}
	for (uint64_t i = 0; i < pass->tokens * pass->group; i++) {
		float *mixed = pass->attention->mixed + vector_offset(pass, i / pass->group, i % pass->group);

		for (uint64_t j = 0; j < head_width; j++) {
			mixed[j] /= pass->total[i];
		}
	}
	return TENSOR_OK;
}

static void attend_pass(void *context, uint64_t item)
{
	struct attention *attention = context;
	struct pass pass = {.attention = attention, .group = attention->heads / attention->kv_heads};
	uint64_t scores;
	int64_t status = TENSOR_NO_MEMORY;

	/* The last tokens attend to the most: they come first, so that no worker is left alone with them. */
	pass.kv_head = item % attention->kv_heads;
	pass.first = (attention->blocks - 1 - item / attention->kv_heads) * QUERIES;
	pass.tokens = attention->count - pass.first < QUERIES ? attention->count - pass.first : QUERIES;
	pass.reach = attention->position + pass.first + pass.tokens;
	scores = pass.tokens * pass.group * (pass.reach + 1);
	pass.score = scratch_floats(scores + WINDOW * attention->head_width);
	if (pass.score != NULL) {
		pass.total = pass.score + pass.tokens * pass.group * pass.reach;
		pass.copies = pass.score + scores;
		status = attend(&pass);
	}
	scratch_free(pass.score, scores + pass.copied * attention->head_width);
	outcome_note(&attention->outcome, status);
}

static void quantise_tile(void *context, uint64_t tile)
{
	struct attention *attention = context;
	const uint64_t first = tile * TILE;
	const uint64_t count = attention->count - first < TILE ? attention->count - first : TILE;
	const uint64_t width = attention->heads * attention->head_width;

	outcome_note(&attention->outcome,
		     activation_write(&attention->output, first, count, attention->mixed + first * width, width));
}

static int64_t attend_all(struct attention *attention)
{
	const uint64_t size = attention->count * attention->heads * attention->head_width;

	attention->mixed = scratch_floats(size);
	if (attention->mixed == NULL) {
		return TENSOR_NO_MEMORY;
	}
	memset(attention->mixed, 0, 4 * size);
	workers_run(attend_pass, attention, attention->blocks * attention->kv_heads);
	if (attention->outcome.status == TENSOR_OK) {
		workers_run(quantise_tile, attention, (attention->count + TILE - 1) / TILE);
	}
	scratch_free(attention->mixed, size);
	return attention->outcome.status;
}

int64_t tensor_attend(struct port *port, uint64_t queries, uint64_t cache, uint64_t position, uint64_t count,
		      uint64_t heads, uint64_t kv_heads, uint64_t head_width, uint64_t output)
{
	struct attention attention = {
		.position = position,
		.count = count,
		.heads = heads,
		.kv_heads = kv_heads,
		.head_width = head_width,
		.blocks = (count + QUERIES - 1) / QUERIES,
	};
	const uint64_t width = heads * head_width;
	int64_t status;

	STANDARD_FLOAT_MODE;
	if (!heads_fit(heads, kv_heads, head_width) || !aligned(queries | cache) || !within(count, TENSOR_MAX_COUNT) ||
	    position >= TENSOR_MAX_TOKENS || count > TENSOR_MAX_TOKENS - position) {
		return TENSOR_INVALID;
	}
	status = view_flat(&attention.queries, port, queries, 4 * width * count, false);
	if (status == TENSOR_OK) {
		status = view_pages(&attention.cache, port, cache, 8 * kv_heads * head_width * (position + count));
	}
	if (status == TENSOR_OK) {
		status = activation_open(&attention.output, port, output, width, count);
	}
	if (status == TENSOR_OK) {
		if (count == 1) {
			look_ahead_note(attention.cache.page[0], attention.cache.bytes);
		}
		status = attend_all(&attention);
	}
	view_close(&attention.queries, false);
	view_close(&attention.cache, false);
	activation_close(&attention.output, status == TENSOR_OK);
	return status;
}
