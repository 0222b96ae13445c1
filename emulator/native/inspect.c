/* What the hardware holds, for whoever judges it from outside: see inspect_api.h. */
#include <string.h>

#include "machine.h"

#include "inspect_api.h"

_Static_assert(sizeof((struct inspect_filters *)0)->region / sizeof(struct inspect_region) == TZASC_REGIONS, "regions");
_Static_assert(sizeof((struct inspect_interrupts *)0)->group1 == GIC_INTERRUPTS, "interrupts");
_Static_assert(sizeof((struct inspect_interrupts *)0)->active_priorities / 4 == GIC_ACTIVE_WORDS, "active priorities");
_Static_assert(sizeof((struct inspect_stream *)0)->word / 8 == SMMU_STE_USED, "words of a stream table entry");

void inspect_registers(struct machine *machine, const struct inspect_register *registers, unsigned count, uint64_t *values)
{
	for (unsigned i = 0; i < count; i++) {
		const struct inspect_register *one = &registers[i];

		values[i] = core_read_sysreg(machine, one->op0, one->op1, one->crn, one->crm, one->op2);
	}
}

void inspect_other_registers(struct machine *machine, uint64_t values[2])
{
	uc_reg_read(machine->core.engine, UC_ARM64_REG_SP_EL3, &values[0]);
	values[1] = machine->core.pmu.control;
}

/* --- memory -------------------------------------------------------------------------------------------------------- */

/* Where a range lies on the host; NULL: it is not memory as a whole. */
static const uint8_t *range_at(struct machine *machine, const struct inspect_range *range)
{
	const struct memory *memory = memory_of(machine, range->address);
	uint64_t offset = memory ? range->address - memory->base : 0;

	return memory && range->bytes <= memory->bytes - offset ? memory->host + offset : NULL;
}

bool inspect_memory(struct machine *machine, const struct inspect_range *ranges, unsigned count, uint8_t *data)
{
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *host = range_at(machine, &ranges[i]);

		if (!host) {
			return false;
		}
		memcpy(data, host, ranges[i].bytes);
		data += ranges[i].bytes;
	}
	return true;
}

bool inspect_memory_is(struct machine *machine, const struct inspect_range *ranges, unsigned count, const uint8_t *data)
{
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *host = range_at(machine, &ranges[i]);

		if (!host || memcmp(host, data, ranges[i].bytes)) {
			return false;
		}
		data += ranges[i].bytes;
	}
	return true;
}

/* --- TLBs ---------------------------------------------------------------------------------------------------------- */

static const struct tlb *tlb_of(const struct machine *machine, enum inspected_tlb which)
{
	return which == INSPECT_CORE_TLB ? &machine->tlb : &machine->smmu.tlb;
}

uint64_t inspect_tlb(struct machine *machine, enum inspected_tlb which, struct inspect_entry *entries, uint64_t capacity)
{
	const struct tlb *tlb = tlb_of(machine, which);
	uint64_t count = 0;

	for (uint64_t i = 0; i < tlb->capacity; i++) {
		const struct tlb_entry *entry = &tlb->entries[i];

		if (!entry->stamp || !tlb_is_usable(tlb, entry)) {
			continue;
		}
		if (count < capacity) {
			entries[count] = (struct inspect_entry){
				.address = entry->address,
				.output = entry->output,
				.vmid = entry->vmid,
				.asid = entry->asid,
				.regime = entry->regime,
				.kind = entry->kind,
				.shift = entry->shift,
				.level = entry->level,
				.permissions = entry->permissions,
				.attributes = entry->attributes,
				.shareability = entry->shareability,
				.is_global = entry->global,
				.non_secure = entry->non_secure,
			};
		}
		count++;
	}
	return count;
}

#define RESTORES_SHIFT 40 /* more changes are not made between two of them */

/* `now` is of the state that was last restored; both counts only grow until the next one is. */
uint64_t inspect_tlb_version(struct machine *machine, enum inspected_tlb which)
{
	const struct tlb *tlb = tlb_of(machine, which);

	return machine->restores << RESTORES_SHIFT | (tlb->now + tlb->drops);
}

/* --- filters and DMA masters ----------------------------------------------------------------------------------------- */

void inspect_filters(struct machine *machine, struct inspect_filters *filters)
{
	const struct tzasc *tzasc = &machine->tzasc;

	*filters = (struct inspect_filters){
		.normal_devices = machine->tzpc.normal_devices,
		.secure_sram_pages = machine->tzpc.secure_sram_pages,
		.gate_open = tzasc->gate_open,
		.bus_error = tzasc->bus_error,
	};
	for (unsigned i = 0; i < TZASC_REGIONS; i++) {
		const struct tzasc_region *region = &tzasc->region[i];

		filters->region[i] = (struct inspect_region){
			.base = region->base,
			.top = region->top,
			.normal_read = region->normal_read,
			.normal_write = region->normal_write,
			.enabled = region->enabled,
			.secure_read = region->secure_read,
			.secure_write = region->secure_write,
		};
	}
}

uint64_t inspect_streams(struct machine *machine, struct inspect_stream *streams, uint64_t capacity)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < SMMU_STREAMS; i++) {
		const struct smmu_stream *stream = &machine->smmu.stream[i];

		if (!stream->cached) {
			continue;
		}
		if (count < capacity) {
			streams[count].stream = i;
			memcpy(streams[count].word, stream->word, sizeof stream->word);
		}
		count++;
	}
	return count;
}

uint64_t inspect_transfers(struct machine *machine, struct inspect_transfer *transfers, uint64_t capacity)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < DMA_CHANNELS; i++) {
		const struct dma_channel *channel = &machine->dma.channel[i];

		if (channel->busy && channel->burst.translated) {
			if (count < capacity) {
				transfers[count] = (struct inspect_transfer){
					channel->burst.output, channel->burst.bytes, (uint16_t)channel->stream, channel->to_memory};
			}
			count++;
		}
	}
	for (unsigned i = 0; i < NPU_CORES; i++) {
		const struct npu_core *core = &machine->npu.core[i];

		for (uint32_t run = 0; run < core->post.runs; run++, count++) {
			if (count < capacity) {
				transfers[count] = (struct inspect_transfer){
					core->post.run[run].output, core->post.run[run].bytes, (uint16_t)core->stream, true};
			}
		}
	}
	return count;
}

/* --- interrupts, NPU --------------------------------------------------------------------------------------------------- */

void inspect_interrupts(struct machine *machine, struct inspect_interrupts *interrupts)
{
	const struct gic *gic = &machine->gic;

	interrupts->distributor_control = gic->distributor_control;
	interrupts->control = gic->control;
	interrupts->priority_mask = gic->priority_mask;
	interrupts->binary_point = gic->binary_point[0];
	memcpy(interrupts->active_priorities, gic->active[0], sizeof interrupts->active_priorities);
	for (unsigned i = 0; i < GIC_INTERRUPTS; i++) {
		const struct gic_interrupt *interrupt = &gic->interrupt[i];

		interrupts->group1[i] = interrupt->group1;
		interrupts->enabled[i] = interrupt->enabled;
		interrupts->active[i] = interrupt->active;
		interrupts->priority[i] = interrupt->priority;
	}
}

static bool is_used(const struct npu_core *core)
{
	for (unsigned i = 0; i < NPU_REGISTER_COUNT; i++) {
		if (core->word[0][i] != npu_register_table[i].reset || core->word[1][i] != npu_register_table[i].reset) {
			return true;
		}
	}
	return core->used || core->raw_status || core->fault || core->post.runs;
}

void inspect_npu(struct machine *machine, struct inspect_npu *npu)
{
	*npu = (struct inspect_npu){.power = machine->npu.power, .clock = machine->npu.clock};
	for (unsigned i = 0; i < NPU_CORES; i++) {
		const struct npu_core *core = &machine->npu.core[i];

		npu->busy |= (uint32_t)(core->phase != NPU_IDLE) << i;
		npu->used |= (uint32_t)is_used(core) << i;
	}
}
