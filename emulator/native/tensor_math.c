/*
 * The float rules of docs/arithmetic.md: quantisation, sums in their fixed order, exp, sine and cosine. The build
 * forbids contraction; nothing here may be reassociated.
 */
#include "tensor.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define LANES 8

/* Adding and taking away 1.5 * 2^23 leaves no fraction bits: round half to even, for |x| < 2^22. */
static inline float round_to_even(float x)
{
	const float magic = 12582912.0f;

	return (x + magic) - magic;
}

/* The largest magnitude; not finite if any element is. */
static float peak(const float *vector, size_t count)
{
	uint32_t largest = 0; /* without their sign, floats order as their bits do, infinities and NaNs on top */

	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		memcpy(&bits, &vector[i], sizeof bits);
		bits &= 0x7fffffff;
		largest = bits > largest ? bits : largest;
	}
	return float_of_bits(largest);
}

/* One plane: the vector is left holding what rounding took away. False: not finite. */
static bool quantise_plane(float *vector, size_t count, float *scale, int8_t *value)
{
	const float largest = peak(vector, count);

	if (!is_finite(largest)) {
		return false;
	}
	*scale = largest / 127.0f;
	if (*scale == 0.0f) {
		memset(value, 0, count);
		return true;
	}
	for (size_t i = 0; i < count; i++) {
		/* Clamped before rounding, which gives the same and keeps the rounding in its range. */
		float ratio = vector[i] / *scale;

		ratio = ratio > 127.0f ? 127.0f : ratio;
		ratio = ratio < -127.0f ? -127.0f : ratio;
		ratio = round_to_even(ratio);
		value[i] = (int8_t)ratio;
		vector[i] = vector[i] - ratio * *scale;
	}
	return true;
}

bool quantise(float *vector, size_t count, struct quantised *result)
{
	return quantise_plane(vector, count, &result->scale[COARSE], result->value) &&
	       quantise_plane(vector, count, &result->scale[FINE], result->value + count);
}

static float sum_lanes(const float *lane)
{
	const float even = (lane[0] + lane[4]) + (lane[2] + lane[6]);
	const float odd = (lane[1] + lane[5]) + (lane[3] + lane[7]);

	return even + odd;
}

float sum_of_products(const float *a, const float *b, size_t count)
{
	float lane[LANES] = {0};
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		for (size_t j = 0; j < LANES; j++) {
			lane[j] += a[i + j] * b[i + j];
		}
	}
	for (size_t j = 0; i + j < count; j++) {
		lane[j] += a[i + j] * b[i + j];
	}
	return sum_lanes(lane);
}

float sum(const float *a, size_t count)
{
	float lane[LANES] = {0};
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		for (size_t j = 0; j < LANES; j++) {
			lane[j] += a[i + j];
		}
	}
	for (size_t j = 0; i + j < count; j++) {
		lane[j] += a[i + j];
	}
	return sum_lanes(lane);
}

float exp_nonpositive(float x)
{
	const float log2_e = 0x1.715476p+0f;
	const float ln2_high = 0x1.63p-1f;      /* 355/512: exact when multiplied by a small integer */
	const float ln2_low = -0x1.bd0106p-13f;
	float whole, rest, result;

	if (!(x >= -87.0f)) { /* below the normal range of the result; a NaN as well */
		return 0.0f;
	}
	whole = round_to_even(x * log2_e);
	rest = (x - whole * ln2_high) - whole * ln2_low;
	result = 0x1.a01a02p-13f;                  /* 1/7! */
	result = result * rest + 0x1.6c16c2p-10f;  /* 1/6! */
	result = result * rest + 0x1.111112p-7f;   /* 1/5! */
	result = result * rest + 0x1.555556p-5f;   /* 1/4! */
	result = result * rest + 0x1.555556p-3f;   /* 1/3! */
	result = result * rest + 0.5f;
	result = result * rest + 1.0f;
	result = result * rest + 1.0f;
	return result * float_of_bits((uint64_t)(127 + (int)whole) << 23);
}

void sine_cosine(uint64_t angle, float *sine, float *cosine)
{
	const float radians_per_unit = 0x1.921fb6p-25f; /* 2 pi / 2^27 */
	const unsigned quadrant = (unsigned)((angle + (UINT64_C(1) << 61)) >> 62) & 3;
	/* The distance to the nearest quarter turn, in 2^-27 turns: at most 25 bits with the sign, exact as a float. */
	const int64_t distance = (int64_t)(angle - ((uint64_t)quadrant << 62)) >> 37;
	const float x = (float)distance * radians_per_unit;
	const float square = x * x;
	float s = 0x1.71de3ap-19f;              /* 1/9! */
	float c = 0x1.a01a02p-16f;              /* 1/8! */

	s = s * square - 0x1.a01a02p-13f;       /* 1/7! */
	s = s * square + 0x1.111112p-7f;        /* 1/5! */
	s = s * square - 0x1.555556p-3f;        /* 1/3! */
	s = s * square + 1.0f;
	s = s * x;
	c = c * square - 0x1.6c16c2p-10f;       /* 1/6! */
	c = c * square + 0x1.555556p-5f;        /* 1/4! */
	c = c * square - 0.5f;
	c = c * square + 1.0f;
	*sine = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
	*cosine = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
}

#if defined(__x86_64__)

#define STANDARD_CONTROL 0x1f80 /* MXCSR: nearest even, no exception traps, no FTZ, no DAZ */

struct float_mode float_mode_standard(void)
{
	const struct float_mode old = {_mm_getcsr()};

	_mm_setcsr(STANDARD_CONTROL);
	return old;
}

void float_mode_restore(struct float_mode *mode)
{
	_mm_setcsr((unsigned)mode->control);
}

#elif defined(__aarch64__)

struct float_mode float_mode_standard(void)
{
	struct float_mode old;

	__asm__ volatile("mrs %0, fpcr" : "=r"(old.control));
	__asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(0)) : "memory"); /* nearest even, no FZ, no traps */
	return old;
}

void float_mode_restore(struct float_mode *mode)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(mode->control) : "memory");
}

#endif
