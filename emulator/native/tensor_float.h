/*
 * The float rules of docs/arithmetic.md for one value, without branches, so that loops over them become vectors. The
 * build forbids contraction; nothing here may be reassociated.
 */
#ifndef TENSOR_FLOAT_H
#define TENSOR_FLOAT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float float_of_bits(uint64_t bits)
{
	const uint32_t low = (uint32_t)bits;
	float value;

	memcpy(&value, &low, sizeof value);
	return value;
}

static inline uint32_t bits_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof bits);
	return bits;
}

#define FLOAT_MAGNITUDE 0x7fffffffu /* without their sign, floats order as their bits do, infinities and NaNs on top */
#define FLOAT_INFINITY 0x7f800000u

static inline bool is_finite(float value)
{
	return (bits_of_float(value) & FLOAT_MAGNITUDE) < FLOAT_INFINITY;
}

/* Adding and taking away 1.5 * 2^23 leaves no fraction bits: round half to even, for |x| < 2^22. */
static inline float round_to_even(float x)
{
	const float magic = 12582912.0f;

	return (x + magic) - magic;
}

/* Section 4: e^x for x <= 0. */
static inline float exp_nonpositive(float x)
{
	const float log2_e = 0x1.715476p+0f;
	const float ln2_high = 0x1.63p-1f; /* 355/512: exact when multiplied by a small integer */
	const float ln2_low = -0x1.bd0106p-13f;
	const bool normal = x >= -87.0f; /* else below the normal range of the result; a NaN as well */
	const float argument = normal ? x : 0.0f;
	const float whole = round_to_even(argument * log2_e);
	const float rest = (argument - whole * ln2_high) - whole * ln2_low;
	float result = 0x1.a01a02p-13f; /* 1/7! */

	result = result * rest + 0x1.6c16c2p-10f; /* 1/6! */
	result = result * rest + 0x1.111112p-7f;  /* 1/5! */
	result = result * rest + 0x1.555556p-5f;  /* 1/4! */
	result = result * rest + 0x1.555556p-3f;  /* 1/3! */
	result = result * rest + 0.5f;
	result = result * rest + 1.0f;
	result = result * rest + 1.0f;
	result = result * float_of_bits((uint32_t)(127 + (int32_t)whole) << 23);
	return normal ? result : 0.0f;
}

#endif
