/*
 * The int8 dot products of a row with both planes of an activation, exact in int32: a portable form and wider ones
 * chosen at run time. Order does not matter to integers, so all of them give the same bits.
 */
#include "tensor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef void dot_products(const int8_t *row, const int8_t *coarse, const int8_t *fine, size_t count, int32_t *total);

struct dot_kind {
	const char *name;
	dot_products *function;
};

static void dot_portable(const int8_t *row, const int8_t *coarse, const int8_t *fine, size_t count, int32_t *total)
{
	int32_t c = 0;
	int32_t f = 0;

	for (size_t i = 0; i < count; i++) {
		c += row[i] * coarse[i];
		f += row[i] * fine[i];
	}
	total[COARSE] += c;
	total[FINE] += f;
}

static const struct dot_kind portable = {"portable", dot_portable};

#if defined(__x86_64__)

/* Widened to int16 first: the unsigned-by-signed byte product of AVX2 saturates, and VNNI is not everywhere. */
__attribute__((target("avx2"))) static inline __m256i widened(const int8_t *values)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)values));
}

__attribute__((target("avx2"))) static inline int32_t total_of(__m256i sums)
{
	__m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));

	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
	return _mm_cvtsi128_si32(half);
}

__attribute__((target("avx2"))) static void dot_avx2(const int8_t *row, const int8_t *coarse, const int8_t *fine,
						     size_t count, int32_t *total)
{
	__m256i c = _mm256_setzero_si256();
	__m256i f = _mm256_setzero_si256();
	size_t i = 0;

	for (; i + 16 <= count; i += 16) {
		const __m256i w = widened(row + i);

		c = _mm256_add_epi32(c, _mm256_madd_epi16(w, widened(coarse + i)));
		f = _mm256_add_epi32(f, _mm256_madd_epi16(w, widened(fine + i)));
	}
	total[COARSE] += total_of(c);
	total[FINE] += total_of(f);
	dot_portable(row + i, coarse + i, fine + i, count - i, total);
}

static const struct dot_kind widest = {"avx2", dot_avx2};

/* Asked of the processor itself: compiler support routines for this are not in every compiler's run-time library. */
static bool widest_is_available(void)
{
	unsigned eax, ebx, ecx, edx, low, high;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE)) {
		return false;
	}
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & 6) != 6) { /* the system saves XMM and YMM */
		return false;
	}
	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_AVX2);
}

#elif defined(__aarch64__)

static inline int32x4_t add_products(int32x4_t sums, int8x16_t a, int8x16_t b)
{
	sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
	return vpadalq_s16(sums, vmull_high_s8(a, b));
}

static void dot_neon(const int8_t *row, const int8_t *coarse, const int8_t *fine, size_t count, int32_t *total)
{
	int32x4_t c = vdupq_n_s32(0);
	int32x4_t f = vdupq_n_s32(0);
	size_t i = 0;

	for (; i + 16 <= count; i += 16) {
		const int8x16_t w = vld1q_s8(row + i);

		c = add_products(c, w, vld1q_s8(coarse + i));
		f = add_products(f, w, vld1q_s8(fine + i));
	}
	total[COARSE] += vaddvq_s32(c);
	total[FINE] += vaddvq_s32(f);
	dot_portable(row + i, coarse + i, fine + i, count - i, total);
}

static const struct dot_kind widest = {"neon", dot_neon};

static bool widest_is_available(void)
{
	return true; /* Advanced SIMD is part of the AArch64 baseline */
}

#else
#error "the portable dot product needs a row here to be chosen on this processor"
#endif

static const struct dot_kind *chosen;

void tensor_force_portable(bool force)
{
	chosen = !force && widest_is_available() ? &widest : &portable;
}

static const struct dot_kind *choice(void)
{
	if (chosen == NULL) {
		tensor_force_portable(false);
	}
	return chosen;
}

const char *tensor_dot_name(void)
{
	return choice()->name;
}

void tensor_dot(const int8_t *row, const int8_t *coarse, const int8_t *fine, size_t count, int32_t *total)
{
	choice()->function(row, coarse, fine, count, total);
}
