/*
 * The NPU's accesses to memory: every page of every step goes through the SMMU and the filters at that instant. Reads are
 * performed at once; output is posted: translated in its step, written at the next one or when CMD_SYNC asks for it.
 */
#include <string.h>

#include "machine.h"
#include "workers.h"

static const uint8_t zeros[PAGE_SIZE];

static bool fail(struct machine *machine, struct npu_core *core, bool write, uint32_t address)
{
	npu_fail(machine, core, write ? NPU_DMA_WRITE : NPU_DMA_READ, 0, address);
	return false;
}

/* One event for what is contiguous on both sides. */
static void tell(struct machine *machine, const struct npu_core *core, const struct npu_run *run, bool write)
{
	if (run->bytes) {
		event(machine, EVENT_DMA, core->stream, run->input, run->output, run->bytes, write);
	}
}

static bool extend(struct npu_run *run, uint32_t input, uint64_t output, uint32_t bytes)
{
	if (!run->bytes || run->input + run->bytes != input || run->output + run->bytes != output) {
		return false;
	}
	run->bytes += bytes;
	return true;
}

/* The pages of what is contiguous behind the SMMU and judged alike; false: denied, or no memory. */
static bool open_part(struct machine *machine, const struct npu_core *core, uint64_t physical, uint64_t bytes,
		      const uint8_t **page)
{
	struct target target = {0};
	enum bus_result result = bus_check(machine, physical, (struct master){.nsaid = core->nsaid}, false, &target);

	if (result == BUS_ERROR || (result == BUS_OK && !target.host)) {
		return false;
	}
	for (uint64_t done = 0; done < bytes;) {
		uint64_t part = PAGE_SIZE - (physical + done) % PAGE_SIZE;

		part = part < bytes - done ? part : bytes - done;
		*page++ = result == BUS_OK ? target.host + done - (physical + done) % PAGE_SIZE : zeros;
		debug_accessed(machine, physical + done, part, false);
		done += part;
	}
	return true;
}

bool npu_open(struct machine *machine, struct npu_core *core, uint32_t address, uint32_t bytes,
	      const uint8_t *pages[NPU_STEP_PAGES])
{
	const uint32_t first = address / PAGE_SIZE;
	struct npu_run run = {0};

	while (bytes) {
		uint64_t physical;
		uint32_t part = (uint32_t)smmu_reach(machine, core->stream, address, bytes, false, &physical);

		part = part ? (uint32_t)bus_reach(machine, physical, part) : 0;
		if (!part || !open_part(machine, core, physical, part, pages + (address / PAGE_SIZE - first))) {
			tell(machine, core, &run, false);
			return fail(machine, core, false, address);
		}
		if (!extend(&run, address, physical, part)) {
			tell(machine, core, &run, false);
			run = (struct npu_run){.input = address, .output = physical, .bytes = part};
		}
		address += part;
		bytes -= part;
	}
	tell(machine, core, &run, false);
	return true;
}

void npu_copy(uint8_t *to, const uint8_t *const pages[], uint32_t address, uint32_t offset, uint32_t bytes)
{
	offset += address % PAGE_SIZE;
	while (bytes) {
		uint32_t part = (uint32_t)(PAGE_SIZE - offset % PAGE_SIZE);

		part = part < bytes ? part : bytes;
		memcpy(to, pages[offset / PAGE_SIZE] + offset % PAGE_SIZE, part);
		to += part;
		offset += part;
		bytes -= part;
	}
}

bool npu_post(struct machine *machine, struct npu_core *core, uint32_t address, uint32_t bytes)
{
	struct npu_post *post = &core->post;

	while (bytes) {
		uint32_t part = (uint32_t)(PAGE_SIZE - address % PAGE_SIZE);
		struct npu_run *last = post->runs ? &post->run[post->runs - 1] : NULL;
		uint64_t physical;

		/* What follows in the page that was translated last is translated with it. */
		if (last && address % PAGE_SIZE && last->input + last->bytes == address) {
			physical = last->output + last->bytes;
			part = part < bytes ? part : bytes;
		} else {
			part = (uint32_t)smmu_reach(machine, core->stream, address, bytes, true, &physical);
		}
		if (!part) {
			return fail(machine, core, true, address);
		}
		if (!last || !extend(last, address, physical, part)) {
			post->run[post->runs++] = (struct npu_run){.input = address, .output = physical, .bytes = part};
		}
		post->bytes += part;
		address += part;
		bytes -= part;
	}
	return true;
}

#define PART (64 * 1024) /* that one thread writes at once */

/* Bytes that lie together on the host. */
struct landing {
	uint8_t *to;
	const uint8_t *from;
	uint64_t bytes;
};

static void copy_part(void *context, uint64_t item)
{
	const struct landing *landing = context;
	const uint64_t at = item * PART;
	const uint64_t left = landing->bytes - at;

	memcpy(landing->to + at, landing->from + at, left < PART ? left : PART);
}

/* What is denied without an error vanishes. */
static bool write_run(struct machine *machine, const struct npu_core *core, const struct npu_run *run, const uint8_t *data)
{
	const struct master master = {.nsaid = core->nsaid};

	for (uint64_t done = 0; done < run->bytes;) {
		const uint64_t bytes = bus_reach(machine, run->output + done, run->bytes - done);
		struct target target;
		enum bus_result result = bus_check(machine, run->output + done, master, true, &target);

		if (result == BUS_ERROR || (result == BUS_OK && !target.host)) {
			return false;
		}
		if (result == BUS_OK) {
			memory_written(machine, run->output + done, bytes);
			workers_run(copy_part, &(struct landing){target.host, data + done, bytes}, (bytes + PART - 1) / PART);
		}
		done += bytes;
	}
	return true;
}

bool npu_land(struct machine *machine, struct npu_core *core)
{
	struct npu_post *post = &core->post;
	const uint8_t *data = post->data;

	for (uint32_t i = 0; i < post->runs; i++) {
		const struct npu_run *run = &post->run[i];

		if (!write_run(machine, core, run, data)) {
			return fail(machine, core, true, run->input);
		}
		tell(machine, core, run, true);
		data += run->bytes;
	}
	post->bytes = post->runs = 0;
	return true;
}
