/*
 * Matrix products: the features are put in rows, then every group of 32 rows of the matrix is a task of its own.
 */
#include "int8_product.h"

#include <stdlib.h>
#include <string.h>

#include "processor.h"
#include "tensor.h"
#include "workers.h"

#define ROWS_TOGETHER 16 /* rows of features that one task puts in order */
#define BYTES_TOGETHER (64 << 10) /* of weights that one task multiplies with at least */

struct job {
	const struct int8_product *product;
	const struct int8_kind *kind;
	uint8_t *features; /* [count][blocks * INT8_GROUP] */
	size_t step;	   /* groups of one task */
};

static const struct int8_kind *chosen;

/* What this processor can do, the widest first. */
static const struct int8_kind *available(unsigned place)
{
	const struct int8_kind *kinds[3];
	unsigned count = 0;

#if defined(__x86_64__)
	if (processor_has_vnni()) {
		kinds[count++] = &int8_vnni;
	}
	if (processor_has_avx2()) {
		kinds[count++] = &int8_avx2;
	}
#elif defined(__aarch64__)
	if (processor_has_dot_product()) {
		kinds[count++] = &int8_dot;
	}
	kinds[count++] = &int8_neon;
#endif
	kinds[count++] = &int8_portable;
	return place < count ? kinds[place] : NULL;
}

static const struct int8_kind *choice(void)
{
	if (chosen == NULL) {
		chosen = available(0);
	}
	return chosen;
}

bool int8_use(unsigned place)
{
	const struct int8_kind *kind = available(place);

	chosen = kind != NULL ? kind : chosen;
	return kind != NULL;
}

void int8_force_portable(bool force)
{
	chosen = force ? &int8_portable : available(0);
}

const char *int8_product_name(void)
{
	return choice()->name;
}

static void order_rows(void *context, uint64_t item)
{
	const struct job *job = context;
	const struct int8_product *product = job->product;
	const size_t columns = product->blocks * INT8_GROUP;
	const size_t first = item * ROWS_TOGETHER;
	const size_t end = first + ROWS_TOGETHER < product->count ? first + ROWS_TOGETHER : product->count;
	const uint64_t bias = job->kind->bias * UINT64_C(0x0101010101010101);

	for (size_t atom = 0; atom < columns / INT8_ATOM; atom++) {
		for (size_t row = first; row < end; row++) {
			uint64_t half[2];

			memcpy(half, product->features + (atom * product->count + row) * INT8_ATOM, INT8_ATOM);
			half[0] ^= bias;
			half[1] ^= bias;
			memcpy(job->features + row * columns + atom * INT8_ATOM, half, INT8_ATOM);
		}
	}
}

static void multiply(void *context, uint64_t item)
{
	const struct job *job = context;
	const struct int8_product *product = job->product;
	const size_t first = item * job->step;
	const size_t end = first + job->step < product->groups ? first + job->step : product->groups;

	for (size_t group = first; group < end; group++) {
		job->kind->group(job->features, product->count, product->block + group * product->blocks,
				 product->blocks,
				 group + 1 < product->groups ? product->block + (group + 1) * product->blocks : NULL,
				 product->sums + group * INT8_GROUP * product->count);
	}
}

bool int8_product(const struct int8_product *product)
{
	const size_t bytes = product->count * product->blocks * INT8_GROUP;
	struct job job = {.product = product, .kind = choice(), .features = aligned_alloc(64, (bytes + 63) / 64 * 64)};

	if (job.features == NULL) {
		return false;
	}
	job.step = 1 + BYTES_TOGETHER / (product->blocks * INT8_BLOCK * (1 + product->count / 8));
	workers_run(order_rows, &job, (product->count + ROWS_TOGETHER - 1) / ROWS_TOGETHER);
	workers_run(multiply, &job, (product->groups + job.step - 1) / job.step);
	scratch_clear(job.features, bytes);
	free(job.features);
	return true;
}

/* --- the portable kernel -------------------------------------------------------------------------------------------- */

static void portable_group(const uint8_t *features, size_t count, const int8_t *const *block, size_t blocks,
			   const int8_t *const *next, int32_t *sums)
{
	(void)next;
	for (size_t row = 0; row < count; row++) {
		const int8_t *vector = (const int8_t *)features + row * blocks * INT8_GROUP;

		for (size_t n = 0; n < INT8_GROUP; n++) {
			uint32_t total = 0; /* wraps */

			for (size_t k = 0; k < blocks; k++) {
				const int8_t *weights = block[k] + n * INT8_GROUP;
				int32_t part = 0;

				for (size_t i = 0; i < INT8_GROUP; i++) {
					part += weights[i] * vector[k * INT8_GROUP + i];
				}
				total += (uint32_t)part;
			}
			sums[(n / INT8_SUMS * count + row) * INT8_SUMS + n % INT8_SUMS] = (int32_t)total;
		}
	}
}

const struct int8_kind int8_portable = {"portable", 0, portable_group};
