/*
 * The float rules of docs/arithmetic.md: sine and cosine, and the mode that floats are computed in. The build
 * forbids contraction; nothing here may be reassociated.
 */
#include "tensor.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

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
