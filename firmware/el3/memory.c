/* The two functions that a freestanding compiler may still call (C11, 4 and clang's and GCC's manuals). */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

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
