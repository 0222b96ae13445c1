/* Products of fp16 matrices: see fp16_product.h. */
#include "fp16_product.h"

#include <stdlib.h>
#include <string.h>

#include "workers.h"

struct job {
	const struct fp16_product *product;
	float *features; /* row by row */
};

static float float_of_half(const uint8_t *place)
{
	uint32_t half = place[0] | (uint32_t)place[1] << 8;
	uint32_t sign = (half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 0x1f;
	uint32_t fraction = half & 0x3ff;
	uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
	float value;

	if (exponent == 0x1f) {
		bits = sign | 0x7f800000 | fraction << 13;
	} else if (exponent == 0) {
		value = (float)fraction * 0x1p-24f;
		return sign ? -value : value;
	}
	memcpy(&value, &bits, sizeof value);
	return value;
}

static void order_row(void *context, uint64_t row)
{
	const struct job *job = context;
	const struct fp16_product *product = job->product;
	const size_t columns = product->blocks * FP16_BLOCK;

	for (size_t k = 0; k < columns; k++) {
		const uint8_t *atom = product->features + (k / FP16_ATOM * product->count + row) * FP16_ATOM * 2;

		job->features[row * columns + k] = float_of_half(atom + k % FP16_ATOM * 2);
	}
}

/* Rows of the matrix are the lanes: each has its own sum, and its own order. */
static void add_block(const struct fp16_product *product, const float *features, const float weights[FP16_BLOCK][FP16_GROUP],
		      size_t row, float *sums)
{
	float total[FP16_GROUP];

	for (size_t i = 0; i < FP16_GROUP / FP16_SUMS; i++) {
		memcpy(total + i * FP16_SUMS, sums + (i * product->count + row) * FP16_SUMS, FP16_SUMS * sizeof *sums);
	}
	for (size_t k = 0; k < FP16_BLOCK; k++) {
		for (size_t n = 0; n < FP16_GROUP; n++) {
			total[n] += features[k] * weights[k][n];
		}
	}
	for (size_t i = 0; i < FP16_GROUP / FP16_SUMS; i++) {
		memcpy(sums + (i * product->count + row) * FP16_SUMS, total + i * FP16_SUMS, FP16_SUMS * sizeof *sums);
	}
}

/* Which NaN an operation makes is the processor's choice. */
static void unify_nans(float *sums, size_t count)
{
	static const uint32_t nan = 0x7fc00000;

	for (size_t i = 0; i < count; i++) {
		if (sums[i] != sums[i]) {
			memcpy(&sums[i], &nan, sizeof nan);
		}
	}
}

static void multiply_group(void *context, uint64_t group)
{
	const struct job *job = context;
	const struct fp16_product *product = job->product;
	float *sums = product->sums + group * FP16_GROUP * product->count;
	float weights[FP16_BLOCK][FP16_GROUP];

	memset(sums, 0, FP16_GROUP * product->count * sizeof *sums);
	for (size_t i = 0; i < product->blocks; i++) {
		const uint8_t *block = product->block[group * product->blocks + i];

		for (size_t n = 0; n < FP16_GROUP; n++) {
			for (size_t k = 0; k < FP16_BLOCK; k++) {
				weights[k][n] = float_of_half(block + (n * FP16_BLOCK + k) * 2);
			}
		}
		for (size_t row = 0; row < product->count; row++) {
			add_block(product, job->features + (row * product->blocks + i) * FP16_BLOCK, weights, row, sums);
		}
	}
	unify_nans(sums, FP16_GROUP * product->count);
}

bool fp16_product(const struct fp16_product *product)
{
	struct job job = {product, malloc(product->count * product->blocks * FP16_BLOCK * sizeof(float))};

	if (job.features == NULL) {
		return false;
	}
	workers_run(order_row, &job, product->count);
	workers_run(multiply_group, &job, product->groups);
	free(job.features);
	return true;
}
