/* What the DPU makes of sums: the output's precision and layout; and posts it. */
#include <string.h>

#include "machine.h"

/* The nearest fp16, ties to even: bits of both. */
static uint16_t half_of_float(uint32_t bits)
{
	uint32_t sign = bits >> 16 & 0x8000;
	uint32_t size = bits & 0x7fffffff;
	uint32_t exponent = size >> 23;
	uint32_t fraction = (size & 0x7fffff) | 0x800000;
	unsigned lost = exponent < 113 ? 126 - exponent : 13; /* bits of the fraction; more for subnormal results */
	uint32_t half;

	if (size > 0x7f800000) {
		return (uint16_t)(sign | 0x7e00);
	}
	if (size >= 0x477ff000) { /* 65520 and above round to infinity */
		return (uint16_t)(sign | 0x7c00);
	}
	if (lost > 24) {
		return (uint16_t)sign;
	}
	half = fraction >> lost;
	fraction &= (UINT32_C(1) << lost) - 1;
	half += fraction > UINT32_C(1) << (lost - 1) || (fraction == UINT32_C(1) << (lost - 1) && half & 1);
	return (uint16_t)(sign | (exponent < 113 ? half : half + ((exponent - 113) << 10)));
}

/* A sum times scale, shifted right and rounded to nearest, halves away from zero; then the offset, saturating. */
static int8_t convert(const struct npu_task *task, int32_t sum)
{
	int64_t product = (int64_t)sum * task->convert_scale;
	uint64_t size = product < 0 ? -(uint64_t)product : (uint64_t)product;
	unsigned shift = task->convert_shift;
	int64_t value = shift > 62 ? 0 : (int64_t)((size + (shift ? UINT64_C(1) << (shift - 1) : 0)) >> shift);

	value = (product < 0 ? -value : value) + task->convert_offset;
	return (int8_t)(value > INT8_MAX ? INT8_MAX : value < INT8_MIN ? INT8_MIN : value);
}

/* Sums [n/4][rows][4] into the atoms of the output. Channels that are not there are zeros. */
static void store_surface(const struct npu_core *core, const uint8_t *sums, uint32_t first, uint32_t kernel, uint8_t *to)
{
	const struct npu_task *task = &core->task;
	uint32_t a_surface = npu_results_a_surface(task);
	uint32_t real = task->kernels < task->real_results ? task->kernels : task->real_results;

	for (uint32_t row = 0; row < task->rows; row++) {
		for (uint32_t i = 0; i < a_surface; i++) {
			uint32_t n = kernel - first + i;
			const uint8_t *sum = sums + (((size_t)(n / 4) * task->rows + row) * 4 + n % 4) * 4;
			uint8_t *place = to + row * NPU_ATOM + i * (NPU_ATOM / a_surface);
			uint32_t bits;

			memcpy(&bits, sum, 4);
			bits = kernel + i < real ? bits : 0;
			if (a_surface == 4) {
				memcpy(place, &bits, 4);
			} else if (a_surface == 8) {
				uint16_t half = half_of_float(bits);

				memcpy(place, &half, 2);
			} else {
				*place = kernel + i < real ? (uint8_t)convert(task, (int32_t)bits) : 0;
			}
		}
	}
}

bool npu_stores_sums(const struct npu_task *task)
{
	const uint32_t groups = npu_groups(task) * npu_kernels_a_group(task);

	return npu_results_a_surface(task) == 4 && task->output_stride == task->rows && task->results == groups &&
	       task->kernels == groups && task->real_results >= groups;
}

bool npu_store(struct machine *machine, struct npu_core *core, uint32_t first, uint32_t end)
{
	const struct npu_task *task = &core->task;
	uint32_t a_surface = npu_results_a_surface(task);
	uint32_t surface = task->rows * NPU_ATOM;
	uint32_t real = task->kernels < task->real_results ? task->kernels : task->real_results;
	const uint8_t *sums = machine->npu.sums;

	end = end < task->results ? end : task->results;
	if (npu_stores_sums(task)) {
		return npu_post(machine, core, task->output_address + first / 4 * surface, (end - first) / 4 * surface);
	}
	for (uint32_t kernel = first; kernel < end; kernel += a_surface) {
		uint32_t address = task->output_address + kernel / a_surface * task->output_stride * NPU_ATOM;
		uint8_t *to = core->post.data + core->post.bytes;

		if (a_surface == 4 && kernel + 4 <= real) {
			memcpy(to, sums + (size_t)(kernel - first) / 4 * surface, surface);
		} else {
			store_surface(core, sums, first, kernel, to);
		}
		if (!npu_post(machine, core, address, surface)) {
			return false;
		}
	}
	return true;
}
