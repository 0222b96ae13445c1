/* Asked of the processor itself: compiler support routines for this are not in every compiler's run-time library. */
#include "processor.h"

#if defined(__x86_64__)

#include <cpuid.h>

#define YMM_STATE 0x06 /* of XCR0: what the system saves */
#define ZMM_STATE 0xe6

struct leaf {
	unsigned eax, ebx, ecx, edx;
};

/* Leaf 7 if the system saves the registers in `state`, else all zero. */
static struct leaf features(unsigned state)
{
	struct leaf leaf = {0};
	unsigned low, high;

	if (!__get_cpuid(1, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx) || !(leaf.ecx & bit_OSXSAVE)) {
		return (struct leaf){0};
	}
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & state) != state || !__get_cpuid_count(7, 0, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx)) {
		return (struct leaf){0};
	}
	return leaf;
}

bool processor_has_avx2(void)
{
	return features(YMM_STATE).ebx & bit_AVX2;
}

static bool has_f16c(void)
{
	struct leaf leaf = {0};

	return __get_cpuid(1, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx) && leaf.ecx & bit_F16C;
}

bool processor_has_avx2_f16c(void)
{
	return processor_has_avx2() && has_f16c();
}

static bool has_avx512(struct leaf leaf)
{
	const unsigned wanted = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;

	return (leaf.ebx & wanted) == wanted;
}

bool processor_has_avx512(void)
{
	return has_avx512(features(ZMM_STATE)) && has_f16c();
}

bool processor_has_vnni(void)
{
	const struct leaf leaf = features(ZMM_STATE);

	return has_avx512(leaf) && leaf.ecx & bit_AVX512VNNI;
}

bool processor_has_dot_product(void)
{
	return false;
}

#else

#include <sys/auxv.h>

#define HWCAP_DOT_PRODUCT (1UL << 20) /* HWCAP_ASIMDDP of the Linux ABI for AArch64 */

bool processor_has_avx2(void)
{
	return false;
}

bool processor_has_avx2_f16c(void)
{
	return false;
}

bool processor_has_avx512(void)
{
	return false;
}

bool processor_has_vnni(void)
{
	return false;
}

bool processor_has_dot_product(void)
{
	return getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCT;
}

#endif
