/*
 * The choice of the inner loops, at run time.
 */
#include "tensor_lanes.h"

#include "int8_product.h"
#include "processor.h"
#include "tensor.h"

static const struct lanes *widest(void)
{
#if defined(__x86_64__)
	if (processor_has_avx2()) {
		return &lanes_avx2;
	}
#endif
	return &lanes_portable;
}

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
