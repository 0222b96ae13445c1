/*
 * Attention of one token over the key-value cache, head by head.
 */
#include "tensor.h"

#include <math.h>

struct attention {
	struct port *port;
	uint64_t keys; /* of this head, token 0 */
	uint64_t values;
	uint64_t stride;
	uint64_t tokens;
	uint64_t head_width;
};

struct scratch {
	float query[TENSOR_MAX_HEAD_WIDTH];
	float output[TENSOR_MAX_HEAD_WIDTH];
	float bounce[TENSOR_MAX_HEAD_WIDTH];
	float weight[TENSOR_MAX_TOKENS];
};

/* weight[t] = e^(score - largest score). */
static int64_t weigh(const struct attention *attention, struct scratch *scratch)
{
	struct walk keys = walk_reading(attention->port, attention->keys);
	const float scale = 1.0f / sqrtf((float)attention->head_width);
	float largest = 0.0f;

	for (uint64_t t = 0; t < attention->tokens; t++) {
		const uint8_t *key = walk_view(&keys, attention->keys + t * attention->stride,
					       4 * attention->head_width, (uint8_t *)scratch->bounce);
		float score;

		if (key == NULL) {
			return TENSOR_ABORT;
		}
		score = sum_of_products(scratch->query, (const float *)key, attention->head_width) * scale;
		if (!is_finite(score)) {
			return TENSOR_NOT_FINITE;
		}
		scratch->weight[t] = score;
		largest = t == 0 || score > largest ? score : largest;
	}
	for (uint64_t t = 0; t < attention->tokens; t++) {
		scratch->weight[t] = exp_nonpositive(scratch->weight[t] - largest);
	}
	return TENSOR_OK;
}

/* output = the values' weighted mean: added token after token, divided once at the end. */
static int64_t mix(const struct attention *attention, struct scratch *scratch)
{
	struct walk values = walk_reading(attention->port, attention->values);
	const float total = sum(scratch->weight, attention->tokens);

	memset(scratch->output, 0, 4 * attention->head_width);
	for (uint64_t t = 0; t < attention->tokens; t++) {
		const float *value =
			(const float *)walk_view(&values, attention->values + t * attention->stride,
						 4 * attention->head_width, (uint8_t *)scratch->bounce);

		if (value == NULL) {
			return TENSOR_ABORT;
		}
		for (uint64_t i = 0; i < attention->head_width; i++) {
			scratch->output[i] += scratch->weight[t] * value[i];
		}
	}
	for (uint64_t i = 0; i < attention->head_width; i++) {
		scratch->output[i] /= total;
	}
	return TENSOR_OK;
}

static int64_t attend_head(const struct attention *attention, uint64_t query, uint64_t output)
{
	struct scratch scratch;
	int64_t status = TENSOR_ABORT;

	if (guest_read(attention->port, query, scratch.query, 4 * attention->head_width)) {
		status = weigh(attention, &scratch);
	}
	if (status == TENSOR_OK) {
		status = mix(attention, &scratch);
	}
	if (status == TENSOR_OK && !guest_write(attention->port, output, scratch.output, 4 * attention->head_width)) {
		status = TENSOR_ABORT;
	}
	scratch_clear(&scratch, offsetof(struct scratch, weight) + 4 * attention->tokens);
	return status;
}

int64_t tensor_attend(struct port *port, uint64_t query, uint64_t keys, uint64_t values, uint64_t stride,
		      uint64_t tokens, uint64_t first, uint64_t count, uint64_t group, uint64_t head_width,
		      uint64_t output)
{
	int64_t status = TENSOR_OK;

	STANDARD_FLOAT_MODE;
	if (!aligned(query | keys | values | stride | output) || !within(tokens, TENSOR_MAX_TOKENS) ||
	    !within(head_width, TENSOR_MAX_HEAD_WIDTH) || !within(group, TENSOR_MAX_WIDTH) ||
	    first > TENSOR_MAX_WIDTH || count > TENSOR_MAX_WIDTH) {
		return TENSOR_INVALID;
	}
	for (uint64_t head = first; head < first + count && status == TENSOR_OK; head++) {
		const uint64_t shared = 4 * (head / group) * head_width;
		const uint64_t own = 4 * head * head_width;
		const struct attention attention = {
			.port = port,
			.keys = keys + shared,
			.values = values + shared,
			.stride = stride,
			.tokens = tokens,
			.head_width = head_width,
		};

		status = attend_head(&attention, query + own, output + own);
	}
	return status;
}
