/*
 * Products of fp16 matrices: the features are put in rows of floats, then every group of 16 rows of the matrix is a task
 * of its own.
 */
#include "fp16_product.h"

#include <stdlib.h>
#include <string.h>

#include "processor.h"
#include "tensor.h"
#include "workers.h"

struct job {
	const struct fp16_product *product;
	const struct fp16_kind *kind;
	float *features; /* [count][blocks * FP16_BLOCK] */
};

static const struct fp16_kind *chosen;

/* What this processor can do, the widest first. */
static const struct fp16_kind *available(unsigned place)
{
	const struct fp16_kind *kinds[3];
	unsigned count = 0;

#if defined(__x86_64__)
	if (processor_has_avx512()) {
		kinds[count++] = &fp16_avx512;
	}
	if (processor_has_avx2_f16c()) {
		kinds[count++] = &fp16_avx2;
	}
#elif defined(__aarch64__)
	kinds[count++] = &fp16_neon;
#endif
	kinds[count++] = &fp16_portable;
	return place < count ? kinds[place] : NULL;
}

static const struct fp16_kind *choice(void)
{
	if (chosen == NULL) {
		chosen = available(0);
	}
	return chosen;
}

bool fp16_use(unsigned place)
{
	const struct fp16_kind *kind = available(place);

	chosen = kind != NULL ? kind : chosen;
	return kind != NULL;
}

void fp16_force_portable(bool force)
{
	chosen = force ? &fp16_portable : available(0);
}

const char *fp16_product_name(void)
{
	return choice()->name;
}

static void order_row(void *context, uint64_t row)
{
	const struct job *job = context;
	const struct fp16_product *product = job->product;

	job->kind->widen_row(product->features + row * FP16_ATOM * 2, product->count, product->blocks,
			     job->features + row * product->blocks * FP16_BLOCK);
}

/* Which NaN an operation makes is the processor's choice. */
static void unify_nans(float *sums, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		memcpy(&bits, &sums[i], sizeof bits);
		bits = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits;
		memcpy(&sums[i], &bits, sizeof bits);
	}
}

static void multiply_group(void *context, uint64_t group)
{
	const struct job *job = context;
	const struct fp16_product *product = job->product;
	float *sums = product->sums + group * FP16_GROUP * product->count;

	memset(sums, 0, FP16_GROUP * product->count * sizeof *sums);
	job->kind->group(job->features, product->count, product->block + group * product->blocks, product->blocks, sums);
	unify_nans(sums, FP16_GROUP * product->count);
}

bool fp16_product(const struct fp16_product *product)
{
	const size_t bytes = product->count * product->blocks * FP16_BLOCK * sizeof(float);
	struct job job = {product, choice(), malloc(bytes)};

	STANDARD_FLOAT_MODE;
	if (job.features == NULL) {
		return false;
	}
	workers_run(order_row, &job, product->count);
	workers_run(multiply_group, &job, product->groups);
	scratch_clear(job.features, bytes);
	free(job.features);
	return true;
}
