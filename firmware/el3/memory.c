/* Zeroing, and the two functions that a freestanding compiler may still call (C11, 4 and clang's and GCC's manuals). */
#include "memory.h"

#include <stddef.h>

#include "memory_map.h"

#define ZVA_BYTES 64 /* cpu_check has seen to it */

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

void zero_page(uint64_t address)
{
	for (uint64_t line = address; line < address + PAGE_SIZE; line += 4 * ZVA_BYTES) {
		__asm__ volatile("dc zva, %0\n\tdc zva, %1\n\tdc zva, %2\n\tdc zva, %3"
				 :
				 : "r"(line), "r"(line + ZVA_BYTES), "r"(line + 2 * ZVA_BYTES), "r"(line + 3 * ZVA_BYTES)
				 : "memory");
	}
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	uint8_t *target = to;
	const uint8_t *source = from;

	for (size_t i = 0; i < bytes; i++) {
		target[i] = source[i];
	}
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	uint8_t *target = to;

	for (size_t i = 0; i < bytes; i++) {
		target[i] = (uint8_t)value;
	}
	return to;
}
