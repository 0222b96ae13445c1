/*
 * Operations on whole activation vectors: each is copied in, computed, copied out.
 */
#include "tensor.h"

#include <math.h>

struct vector {
	float value[TENSOR_MAX_WIDTH];
};

static bool vector_fits(uint64_t address, uint64_t count)
{
	return aligned(address) && within(count, TENSOR_MAX_WIDTH);
}

/* Quantises `source` into the guest and wipes it. */
static int64_t write_quantised(struct port *port, struct vector *source, uint64_t count, uint64_t output)
{
	struct quantised result;
	int64_t status = TENSOR_NOT_FINITE;

	if (quantise(source->value, count, &result)) {
		status = guest_write(port, output, &result, QUANTISED_BYTES(count)) ? TENSOR_OK : TENSOR_ABORT;
	}
	scratch_clear(&result, QUANTISED_BYTES(count));
	scratch_clear(source, 4 * count);
	return status;
}

int64_t tensor_quantise(struct port *port, uint64_t vector, uint64_t count, uint64_t output)
{
	struct vector source;

	STANDARD_FLOAT_MODE;
	if (!vector_fits(vector, count) || !aligned(output)) {
		return TENSOR_INVALID;
	}
	if (!guest_read(port, vector, &source, 4 * count)) {
		scratch_clear(&source, 4 * count);
		return TENSOR_ABORT;
	}
	return write_quantised(port, &source, count, output);
}

int64_t tensor_normalise(struct port *port, uint64_t vector, uint64_t gain, uint64_t count, uint64_t epsilon_bits,
			 uint64_t output)
{
	struct vector x, scale;
	float mean, inverse;

	STANDARD_FLOAT_MODE;
	if (!vector_fits(vector, count) || !aligned(gain) || !aligned(output)) {
		return TENSOR_INVALID;
	}
	if (!guest_read(port, vector, &x, 4 * count) || !guest_read(port, gain, &scale, 4 * count)) {
		scratch_clear(&x, 4 * count);
		scratch_clear(&scale, 4 * count);
		return TENSOR_ABORT;
	}
	mean = sum_of_products(x.value, x.value, count) / (float)count;
	inverse = 1.0f / sqrtf(mean + float_of_bits(epsilon_bits));
	for (uint64_t i = 0; i < count; i++) {
		x.value[i] = (x.value[i] * inverse) * scale.value[i];
	}
	scratch_clear(&scale, 4 * count);
	return write_quantised(port, &x, count, output);
}

int64_t tensor_swiglu(struct port *port, uint64_t gate, uint64_t up, uint64_t count, uint64_t output)
{
	struct vector x, factor;

	STANDARD_FLOAT_MODE;
	if (!vector_fits(gate, count) || !aligned(up) || !aligned(output)) {
		return TENSOR_INVALID;
	}
	if (!guest_read(port, gate, &x, 4 * count) || !guest_read(port, up, &factor, 4 * count)) {
		scratch_clear(&x, 4 * count);
		scratch_clear(&factor, 4 * count);
		return TENSOR_ABORT;
	}
	for (uint64_t i = 0; i < count; i++) {
		const float g = x.value[i];
		const float e = exp_nonpositive(g < 0.0f ? g : -g);
		const float sigmoid = (g < 0.0f ? e : 1.0f) / (1.0f + e);

		x.value[i] = (g * sigmoid) * factor.value[i];
	}
	scratch_clear(&factor, 4 * count);
	return write_quantised(port, &x, count, output);
}

int64_t tensor_add(struct port *port, uint64_t vector, uint64_t addend, uint64_t count)
{
	struct vector x, y;
	bool done;

	STANDARD_FLOAT_MODE;
	if (!vector_fits(vector, count) || !aligned(addend)) {
		return TENSOR_INVALID;
	}
	done = guest_read(port, vector, &x, 4 * count) && guest_read(port, addend, &y, 4 * count);
	if (done) {
		for (uint64_t i = 0; i < count; i++) {
			x.value[i] += y.value[i];
		}
		done = guest_write(port, vector, &x, 4 * count);
	}
	scratch_clear(&x, 4 * count);
	scratch_clear(&y, 4 * count);
	return done ? TENSOR_OK : TENSOR_ABORT;
}

struct rotation {
	uint64_t step[TENSOR_MAX_HEAD_WIDTH / 2];
	float sine[TENSOR_MAX_HEAD_WIDTH / 2];
	float cosine[TENSOR_MAX_HEAD_WIDTH / 2];
};

static void rotate_head(float *head, const struct rotation *rotation, uint64_t pairs)
{
	for (uint64_t i = 0; i < pairs; i++) {
		const float x = head[2 * i];
		const float y = head[2 * i + 1];

		head[2 * i] = x * rotation->cosine[i] - y * rotation->sine[i];
		head[2 * i + 1] = x * rotation->sine[i] + y * rotation->cosine[i];
	}
}

int64_t tensor_rotate(struct port *port, uint64_t table, uint64_t vector, uint64_t heads, uint64_t head_width,
		      uint64_t position)
{
	const uint64_t pairs = head_width / 2;
	struct rotation rotation;
	struct vector x;
	uint64_t bytes;
	bool done;

	STANDARD_FLOAT_MODE;
	if (table % 8 != 0 || !aligned(vector) || head_width % 2 != 0 || !within(head_width, TENSOR_MAX_HEAD_WIDTH) ||
	    !within(heads, TENSOR_MAX_WIDTH / head_width) || position >= TENSOR_MAX_TOKENS) {
		return TENSOR_INVALID;
	}
	bytes = 4 * heads * head_width;
	done = guest_read(port, table, rotation.step, 8 * pairs) && guest_read(port, vector, &x, bytes);
	if (done) {
		for (uint64_t i = 0; i < pairs; i++) {
			sine_cosine(position * rotation.step[i], &rotation.sine[i], &rotation.cosine[i]);
		}
		for (uint64_t head = 0; head < heads; head++) {
			rotate_head(x.value + head * head_width, &rotation, pairs);
		}
		done = guest_write(port, vector, &x, bytes);
	}
	scratch_clear(&x, bytes);
	return done ? TENSOR_OK : TENSOR_ABORT;
}
