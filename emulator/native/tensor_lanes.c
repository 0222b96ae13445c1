/*
 * The choice of the inner loops, at run time.
 */
#include "tensor_lanes.h"

#include "tensor.h"

#if defined(__x86_64__)

#include <cpuid.h>

/* Asked of the processor itself: compiler support routines for this are not in every compiler's run-time library. */
static const struct lanes *widest(void)
{
	unsigned eax, ebx, ecx, edx, low, high;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE)) {
		return &lanes_portable;
	}
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & 6) != 6) { /* the system does not save XMM and YMM */
		return &lanes_portable;
	}
	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_AVX2) ? &lanes_avx2 : &lanes_portable;
}

#else

static const struct lanes *widest(void)
{
	return &lanes_portable;
}

#endif

static const struct lanes *chosen;

void tensor_force_portable(bool force)
{
	chosen = force ? &lanes_portable : widest();
}

const struct lanes *lanes(void)
{
	if (chosen == NULL) {
		tensor_force_portable(false);
	}
	return chosen;
}

const char *tensor_lanes_name(void)
{
	return lanes()->name;
}
