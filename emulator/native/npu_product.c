/* Matrix products in the NPU's layouts: see npu_product.h. */
#include "npu_product.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "int8_product.h"

#define FP16_KERNELS 16
#define CHANNELS 32

void npu_product_int8(const struct npu_product *product)
{
	const struct int8_product exact = {
		.features = (const int8_t *)product->features,
		.block = (const int8_t *const *)product->weights,
		.sums = product->sums,
		.count = product->count,
		.groups = product->groups,
		.blocks = product->blocks,
	};

	if (!int8_product(&exact)) {
		abort(); /* the host has no memory */
	}
}

static float float_of_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
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

void npu_product_fp16(const struct npu_product *product)
{
	const uint16_t *features = (const uint16_t *)product->features;
	size_t surface = (size_t)product->count * 8;
	float *sums = product->sums;

	for (uint32_t n = 0; n < product->groups * FP16_KERNELS; n++) {
		for (uint32_t row = 0; row < product->count; row++) {
			float sum = 0;

			for (uint32_t k = 0; k < product->blocks * CHANNELS; k++) {
				const uint16_t *weights = (const uint16_t *)(const void *)
					product->weights[(size_t)(n / FP16_KERNELS) * product->blocks + k / CHANNELS];

				sum += float_of_half(features[k / 8 * surface + row * 8 + k % 8]) *
				       float_of_half(weights[n % FP16_KERNELS * CHANNELS + k % CHANNELS]);
			}
			sums[((size_t)(n / 4) * product->count + row) * 4 + n % 4] = sum;
		}
	}
}
