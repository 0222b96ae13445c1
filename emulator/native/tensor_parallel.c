/*
 * The tasks of one operation, each on memory of its own.
 */
#include "tensor.h"

void tensor_parallel(void (*task)(void *context, uint64_t item), void *context, uint64_t items)
{
	STANDARD_FLOAT_MODE;
	for (uint64_t item = 0; item < items; item++) {
		task(context, item);
	}
}
