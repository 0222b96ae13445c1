/*
 * The machine's state as a stream of bytes. Saving and restoring walk the same fields in the same order, so what is saved
 * is what is restored. Integers are little-endian, whatever the host is.
 */
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "exclusive.h"

#define LARGEST_TLB (1 << 22) /* entries that we believe a stream to have */

enum direction { SAVE, RESTORE };

struct stream {
	enum direction direction;
	uint8_t *bytes;
	uint64_t at;
	uint64_t end;
	bool failed;
};

static uint64_t put(struct stream *stream, uint64_t value, unsigned size)
{
	bool fits = stream->at <= stream->end && stream->end - stream->at >= size;

	if (!fits && stream->direction == RESTORE) {
		stream->failed = true;
		return 0;
	}
	for (unsigned i = 0; i < size && fits; i++) {
		uint8_t *byte = &stream->bytes[stream->at + i];

		if (stream->direction == SAVE) {
			*byte = (uint8_t)(value >> 8 * i);
		} else {
			value = (value & ~(UINT64_C(0xff) << 8 * i)) | (uint64_t)*byte << 8 * i;
		}
	}
	stream->at += size;
	return value;
}

/* One field of ours, whatever its width: saved as 8 bytes, restored if it fits. */
#define FIELD_OF(stream, lvalue)                                                                                       \
	do {                                                                                                           \
		uint64_t field_value = put(stream, (uint64_t)(lvalue), 8);                                             \
		if ((stream)->direction == RESTORE && !(stream)->failed) {                                             \
			(lvalue) = (__typeof__(lvalue))field_value;                                                    \
			(stream)->failed = (uint64_t)(lvalue) != field_value;                                          \
		}                                                                                                      \
	} while (0)

/* --- the engine's registers ---------------------------------------------------------------------------------------- */

static const int core_registers[] = {
	UC_ARM64_REG_PSTATE, UC_ARM64_REG_PC, UC_ARM64_REG_SP, UC_ARM64_REG_SP_EL0, UC_ARM64_REG_SP_EL1,
	UC_ARM64_REG_SP_EL2, UC_ARM64_REG_SP_EL3, UC_ARM64_REG_FPCR, UC_ARM64_REG_FPSR,
};

#define GENERAL_REGISTERS 31
#define VECTOR_REGISTERS 32

struct encoding {
	uint8_t op0, op1, crn, crm, op2;
};

/* Every system register of the engine's that keeps what is written to it, but for those that say what we keep. */
static const struct encoding system_registers[] = {
	/* debug */
	{2, 0, 0, 0, 4}, {2, 0, 0, 0, 5}, {2, 0, 0, 0, 6}, {2, 0, 0, 0, 7}, {2, 0, 0, 1, 0}, {2, 0, 0, 1, 4},
	{2, 0, 0, 1, 5}, {2, 0, 0, 1, 6}, {2, 0, 0, 1, 7}, {2, 0, 0, 2, 0}, {2, 0, 0, 2, 2}, {2, 0, 0, 2, 4},
	{2, 0, 0, 2, 5}, {2, 0, 0, 2, 6}, {2, 0, 0, 2, 7}, {2, 0, 0, 3, 4}, {2, 0, 0, 3, 5}, {2, 0, 0, 3, 6},
	{2, 0, 0, 3, 7}, {2, 0, 0, 4, 4}, {2, 0, 0, 4, 5}, {2, 0, 0, 5, 4}, {2, 0, 0, 5, 5}, {2, 0, 1, 1, 4},
	{2, 0, 1, 3, 4}, {2, 4, 0, 7, 0},
	/* EL1 */
	{3, 0, 1, 0, 0}, {3, 0, 1, 0, 2}, {3, 0, 2, 0, 0}, {3, 0, 2, 0, 1}, {3, 0, 2, 0, 2}, {3, 0, 4, 0, 0},
	{3, 0, 4, 0, 1}, {3, 0, 5, 2, 0}, {3, 0, 6, 0, 0}, {3, 0, 7, 4, 0}, {3, 0, 9, 14, 1}, {3, 0, 10, 2, 0},
	{3, 0, 12, 0, 0}, {3, 0, 13, 0, 1}, {3, 0, 13, 0, 4}, {3, 0, 14, 1, 0}, {3, 2, 0, 0, 0},
	/* EL0: performance monitors, thread registers, timers */
	{3, 3, 9, 12, 0}, {3, 3, 9, 12, 1}, {3, 3, 9, 12, 3}, {3, 3, 9, 12, 5}, {3, 3, 9, 14, 0}, {3, 3, 9, 14, 3},
	{3, 3, 13, 0, 2}, {3, 3, 13, 0, 3}, {3, 3, 14, 0, 0}, {3, 3, 14, 2, 2}, {3, 3, 14, 3, 2}, {3, 3, 14, 8, 0},
	{3, 3, 14, 8, 1}, {3, 3, 14, 8, 2}, {3, 3, 14, 8, 3}, {3, 3, 14, 12, 0}, {3, 3, 14, 12, 1}, {3, 3, 14, 12, 2},
	{3, 3, 14, 12, 3}, {3, 3, 14, 15, 7},
	/* EL2 */
	{3, 4, 0, 0, 0}, {3, 4, 0, 0, 5}, {3, 4, 1, 0, 0}, {3, 4, 1, 1, 0}, {3, 4, 1, 1, 1}, {3, 4, 1, 1, 2},
	{3, 4, 1, 1, 3}, {3, 4, 2, 0, 0}, {3, 4, 2, 0, 2}, {3, 4, 2, 1, 0}, {3, 4, 2, 1, 2}, {3, 4, 3, 0, 0},
	{3, 4, 4, 0, 0}, {3, 4, 4, 0, 1}, {3, 4, 4, 3, 0}, {3, 4, 4, 3, 1}, {3, 4, 4, 3, 2}, {3, 4, 4, 3, 3},
	{3, 4, 5, 0, 1}, {3, 4, 5, 2, 0}, {3, 4, 5, 3, 0}, {3, 4, 6, 0, 0}, {3, 4, 6, 0, 4}, {3, 4, 10, 2, 0},
	{3, 4, 12, 0, 0}, {3, 4, 13, 0, 2}, {3, 4, 14, 0, 3}, {3, 4, 14, 1, 0}, {3, 4, 14, 2, 2},
	/* EL3, and its timer; the last one is always written, which makes the engine look at PSTATE */
	{3, 6, 1, 0, 0}, {3, 6, 1, 1, 0}, {3, 6, 1, 1, 1}, {3, 6, 1, 1, 2}, {3, 6, 1, 3, 1}, {3, 6, 2, 0, 0},
	{3, 6, 2, 0, 2}, {3, 6, 4, 0, 1}, {3, 6, 5, 2, 0}, {3, 6, 6, 0, 0}, {3, 6, 10, 2, 0}, {3, 6, 12, 0, 0},
	{3, 6, 13, 0, 2}, {3, 7, 14, 2, 2}, {3, 6, 4, 0, 0},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static void general_registers(struct machine *machine, struct stream *stream)
{
	uc_engine *engine = machine->core.engine;

	for (unsigned i = 0; i < COUNT_OF(core_registers); i++) {
		uint64_t value = 0;

		uc_reg_read(engine, core_registers[i], &value);
		value = put(stream, value, 8);
		if (stream->direction == RESTORE) {
			uc_reg_write(engine, core_registers[i], &value);
		}
	}
	for (unsigned i = 0; i < GENERAL_REGISTERS; i++) {
		uint64_t value = put(stream, core_read_register(machine, i), 8);

		if (stream->direction == RESTORE) {
			core_write_register(machine, i, value);
		}
	}
	for (unsigned i = 0; i < VECTOR_REGISTERS; i++) {
		uint64_t low, high;

		core_read_vector(machine, i, &low, &high);
		low = put(stream, low, 8);
		high = put(stream, high, 8);
		if (stream->direction == RESTORE) {
			core_write_vector(machine, i, low, high);
		}
	}
}

/* A register that does not take its value back shows it: the stream is then not one of such a machine. */
static void special_registers(struct machine *machine, struct stream *stream)
{
	for (unsigned i = 0; i < COUNT_OF(system_registers); i++) {
		const struct encoding *e = &system_registers[i];
		uint64_t now = core_read_sysreg(machine, e->op0, e->op1, e->crn, e->crm, e->op2);
		uint64_t value = put(stream, now, 8);

		if (stream->direction != RESTORE || (value == now && i != COUNT_OF(system_registers) - 1)) {
			continue;
		}
		core_write_sysreg(machine, e->op0, e->op1, e->crn, e->crm, e->op2, value);
		stream->failed |= core_read_sysreg(machine, e->op0, e->op1, e->crn, e->crm, e->op2) != value;
	}
}

/* LDXR's claim, which the engine keeps to itself. */
static void exclusive_monitor(struct machine *machine, struct stream *stream)
{
	struct exclusive exclusive;

	if (stream->direction != RESTORE && !exclusive_read(machine->core.engine, &exclusive)) {
		stream->failed = true;
	}
	for (unsigned i = 0; i < EXCLUSIVE_WORDS; i++) {
		exclusive.word[i] = put(stream, exclusive.word[i], 8);
	}
	if (stream->direction == RESTORE && !stream->failed) {
		stream->failed = !exclusive_write(machine->core.engine, &exclusive);
	}
}

/* --- what is ours ------------------------------------------------------------------------------------------------------ */

static void core_fields(struct machine *machine, struct stream *stream)
{
	struct core *core = &machine->core;

	FIELD_OF(stream, core->instructions);
	FIELD_OF(stream, machine->debug.entries_at);
	FIELD_OF(stream, machine->debug.entries);
	FIELD_OF(stream, core->halted);
	FIELD_OF(stream, core->serror_pending);
	FIELD_OF(stream, core->doubtful_returns);
	FIELD_OF(stream, core->was_below_el3);
	FIELD_OF(stream, core->pmu.control);
	FIELD_OF(stream, core->pmu.enabled);
	FIELD_OF(stream, core->pmu.overflows);
	FIELD_OF(stream, core->pmu.interrupts);
	for (unsigned i = 0; i < PMU_COUNTERS; i++) {
		FIELD_OF(stream, core->pmu.count[i]);
		FIELD_OF(stream, core->pmu.type[i]);
	}
	for (unsigned i = 0; i < TIMERS; i++) {
		FIELD_OF(stream, core->timer[i].control);
	}
	FIELD_OF(stream, core->in_call);
	FIELD_OF(stream, core->call_start);
	FIELD_OF(stream, core->longest_call);
}

static void virtual_interface(struct gic_virtual *virtual, struct stream *stream)
{
	FIELD_OF(stream, virtual->hcr);
	for (unsigned i = 0; i < GIC_LIST_REGISTERS; i++) {
		FIELD_OF(stream, virtual->list[i]);
	}
	FIELD_OF(stream, virtual->active);
	FIELD_OF(stream, virtual->control);
	FIELD_OF(stream, virtual->priority_mask);
	for (unsigned group = 0; group < 2; group++) {
		FIELD_OF(stream, virtual->binary_point[group]);
	}
}

static void gic(struct gic *gic, struct stream *stream)
{
	bool present = put(stream, gic->present, 1);

	stream->failed |= present != gic->present;
	for (unsigned i = 0; i < GIC_INTERRUPTS && gic->present; i++) {
		struct gic_interrupt *interrupt = &gic->interrupt[i];

		FIELD_OF(stream, interrupt->group1);
		FIELD_OF(stream, interrupt->enabled);
		FIELD_OF(stream, interrupt->latched);
		FIELD_OF(stream, interrupt->level);
		FIELD_OF(stream, interrupt->edge);
		FIELD_OF(stream, interrupt->active);
		FIELD_OF(stream, interrupt->priority);
	}
	FIELD_OF(stream, gic->distributor_control);
	FIELD_OF(stream, gic->control);
	FIELD_OF(stream, gic->priority_mask);
	for (unsigned group = 0; group < 2; group++) {
		FIELD_OF(stream, gic->binary_point[group]);
		for (unsigned i = 0; i < GIC_ACTIVE_WORDS; i++) {
			FIELD_OF(stream, gic->active[group][i]);
		}
	}
	virtual_interface(&gic->virtual, stream);
}

static void filters(struct machine *machine, struct stream *stream)
{
	struct tzasc *tzasc = &machine->tzasc;

	for (unsigned i = 0; i < TZASC_REGIONS; i++) {
		struct tzasc_region *region = &tzasc->region[i];

		FIELD_OF(stream, region->base);
		FIELD_OF(stream, region->top);
		FIELD_OF(stream, region->enabled);
		FIELD_OF(stream, region->secure_read);
		FIELD_OF(stream, region->secure_write);
		FIELD_OF(stream, region->normal_read);
		FIELD_OF(stream, region->normal_write);
	}
	FIELD_OF(stream, tzasc->gate_open);
	FIELD_OF(stream, tzasc->bus_error);
	FIELD_OF(stream, tzasc->failure.latched);
	FIELD_OF(stream, tzasc->failure.overrun);
	FIELD_OF(stream, tzasc->failure.overlap);
	FIELD_OF(stream, tzasc->failure.privileged);
	FIELD_OF(stream, tzasc->failure.non_secure);
	FIELD_OF(stream, tzasc->failure.write);
	FIELD_OF(stream, tzasc->failure.nsaid);
	FIELD_OF(stream, tzasc->failure.address);
	FIELD_OF(stream, machine->tzpc.secure_sram_pages);
	FIELD_OF(stream, machine->tzpc.normal_devices);
}

static void tlb_entry(struct tlb_entry *entry, struct stream *stream)
{
	FIELD_OF(stream, entry->address);
	FIELD_OF(stream, entry->output);
	FIELD_OF(stream, entry->ipa);
	FIELD_OF(stream, entry->stamp);
	FIELD_OF(stream, entry->serial);
	FIELD_OF(stream, entry->vmid);
	FIELD_OF(stream, entry->asid);
	FIELD_OF(stream, entry->regime);
	FIELD_OF(stream, entry->kind);
	FIELD_OF(stream, entry->shift);
	FIELD_OF(stream, entry->level);
	FIELD_OF(stream, entry->permissions);
	FIELD_OF(stream, entry->attributes);
	FIELD_OF(stream, entry->shareability);
	FIELD_OF(stream, entry->global);
	FIELD_OF(stream, entry->non_secure);
	stream->failed |= stream->direction == RESTORE && (entry->regime >= REGIMES || entry->shift >= 64);
}

/* An index and a value for each element that is not zero, and an index past the end. */
static void sparse(uint64_t *values, uint64_t count, struct stream *stream)
{
	if (stream->direction == RESTORE) {
		memset(values, 0, count * sizeof *values);
		for (;;) {
			uint64_t index = put(stream, 0, 8);

			if (stream->failed || index >= count) {
				return;
			}
			values[index] = put(stream, 0, 8);
		}
	}
	for (uint64_t i = 0; i < count; i++) {
		if (values[i]) {
			put(stream, i, 8);
			put(stream, values[i], 8);
		}
	}
	put(stream, count, 8);
}

static void restore_tlb_entries(struct tlb *tlb, uint64_t capacity, struct stream *stream)
{
	struct tlb_entry *entries;

	if (stream->failed || capacity == 0 || capacity > LARGEST_TLB || capacity & (capacity - 1) ||
	    !(entries = calloc(capacity, sizeof *entries))) {
		stream->failed = true;
		return;
	}
	free(tlb->entries);
	tlb->entries = entries;
	tlb->capacity = capacity;
	for (uint64_t count = 0;; count++) {
		uint64_t index = put(stream, 0, 8);

		if (stream->failed || index >= capacity) {
			stream->failed |= count != tlb->used || count > capacity / 2; /* look-ups end at a free slot */
			return;
		}
		tlb_entry(&entries[index], stream);
	}
}

/* Slot by slot: what a look-up finds first depends on it. */
static void tlb(struct tlb *tlb, struct stream *stream)
{
	uint64_t capacity = put(stream, tlb->capacity, 8);

	FIELD_OF(stream, tlb->used);
	FIELD_OF(stream, tlb->now);
	FIELD_OF(stream, tlb->sizes);
	stream->failed |= tlb->sizes > TLB_SIZES;
	for (unsigned i = 0; i < REGIMES; i++) {
		FIELD_OF(stream, tlb->all[i]);
	}
	sparse(tlb->vmid_stage1, TLB_VMIDS, stream);
	sparse(tlb->vmid_stage2, TLB_VMIDS, stream);
	if (stream->direction == RESTORE) {
		restore_tlb_entries(tlb, capacity, stream);
		return;
	}
	for (uint64_t i = 0; i < capacity; i++) {
		if (tlb->entries[i].serial || tlb->entries[i].stamp) {
			put(stream, i, 8);
			tlb_entry(&tlb->entries[i], stream);
		}
	}
	put(stream, capacity, 8);
}

static void smmu(struct machine *machine, struct stream *stream)
{
	struct smmu *smmu = &machine->smmu;
	uint32_t registers[sizeof smmu->registers / sizeof(uint32_t)];
	bool attached = put(stream, smmu->attached, 1);

	if (attached != smmu->attached) {
		stream->failed = true;
	}
	if (!attached || stream->failed) {
		return;
	}
	memcpy(registers, &smmu->registers, sizeof registers);
	for (unsigned i = 0; i < COUNT_OF(registers); i++) {
		registers[i] = (uint32_t)put(stream, registers[i], 4);
	}
	memcpy(&smmu->registers, registers, sizeof registers);
	for (unsigned i = 0; i < SMMU_STREAMS; i++) {
		FIELD_OF(stream, smmu->stream[i].cached);
		for (unsigned word = 0; word < SMMU_STE_USED; word++) {
			FIELD_OF(stream, smmu->stream[i].word[word]);
		}
	}
	tlb(&smmu->tlb, stream);
	smmu_ranges_forget(smmu);
}

static void dma(struct machine *machine, struct stream *stream)
{
	for (unsigned i = 0; i < DMA_CHANNELS; i++) {
		struct dma_channel *channel = &machine->dma.channel[i];

		FIELD_OF(stream, channel->busy);
		FIELD_OF(stream, channel->to_memory);
		FIELD_OF(stream, channel->due);
		FIELD_OF(stream, channel->position);
		FIELD_OF(stream, channel->address);
		FIELD_OF(stream, channel->remaining);
		FIELD_OF(stream, channel->moved);
		FIELD_OF(stream, channel->error);
		FIELD_OF(stream, channel->burst.translated);
		FIELD_OF(stream, channel->burst.bytes);
		stream->failed |= channel->burst.bytes > DMA_BURST_BYTES;
		FIELD_OF(stream, channel->burst.input);
		FIELD_OF(stream, channel->burst.output);
		FIELD_OF(stream, channel->burst.position);
	}
}

static void npu_task(struct npu_task *task, struct stream *stream)
{
	FIELD_OF(stream, task->fp16);
	FIELD_OF(stream, task->output);
	FIELD_OF(stream, task->reuse);
	FIELD_OF(stream, task->rows);
	FIELD_OF(stream, task->channels);
	FIELD_OF(stream, task->real_channels);
	FIELD_OF(stream, task->kernels);
	FIELD_OF(stream, task->results);
	FIELD_OF(stream, task->real_results);
	FIELD_OF(stream, task->features);
	FIELD_OF(stream, task->weights);
	FIELD_OF(stream, task->output_address);
	FIELD_OF(stream, task->feature_stride);
	FIELD_OF(stream, task->output_stride);
	FIELD_OF(stream, task->convert_offset);
	FIELD_OF(stream, task->convert_scale);
	FIELD_OF(stream, task->convert_shift);
}

static void npu_posted(struct npu_post *post, struct stream *stream)
{
	uint64_t bytes = 0;

	FIELD_OF(stream, post->bytes);
	FIELD_OF(stream, post->runs);
	if (post->bytes > NPU_POST_BYTES || post->bytes % NPU_ATOM || post->runs > NPU_POST_RUNS) {
		post->bytes = post->runs = 0;
		stream->failed = true;
	}
	for (unsigned i = 0; i < post->runs; i++) {
		FIELD_OF(stream, post->run[i].input);
		FIELD_OF(stream, post->run[i].output);
		FIELD_OF(stream, post->run[i].bytes);
		bytes += post->run[i].bytes;
	}
	stream->failed |= bytes != post->bytes;
	sparse((uint64_t *)(void *)post->data, post->bytes / 8, stream);
}

static void npu_core(struct npu_core *core, struct stream *stream)
{
	for (unsigned i = 0; i < NPU_REGISTER_COUNT; i++) {
		FIELD_OF(stream, core->word[0][i]);
		FIELD_OF(stream, core->word[1][i]);
	}
	FIELD_OF(stream, core->raw_status);
	FIELD_OF(stream, core->fault);
	FIELD_OF(stream, core->phase);
	FIELD_OF(stream, core->due);
	FIELD_OF(stream, core->tasks);
	FIELD_OF(stream, core->tasks_done);
	FIELD_OF(stream, core->loaded);
	FIELD_OF(stream, core->multiplied);
	FIELD_OF(stream, core->buffered);
	FIELD_OF(stream, core->program.address);
	FIELD_OF(stream, core->program.words);
	FIELD_OF(stream, core->program.next_address);
	FIELD_OF(stream, core->program.next_amount);
	npu_task(&core->task, stream);
	npu_posted(&core->post, stream);
	FIELD_OF(stream, core->counters.jobs);
	FIELD_OF(stream, core->counters.tasks);
	FIELD_OF(stream, core->counters.macs);
	if (stream->direction == RESTORE) {
		memset(core->buffer, 0, core->used);
	}
	FIELD_OF(stream, core->used);
	if (core->used > NPU_FEATURE_BYTES || core->used % NPU_ATOM) {
		core->used = NPU_FEATURE_BYTES;
		stream->failed = true;
	}
	sparse((uint64_t *)(void *)core->buffer, core->used / 8, stream);
	stream->failed |= core->phase > NPU_ENDING || core->buffered > NPU_BUFFER_BYTES;
	if (core->phase > NPU_FETCHING) {
		stream->failed |= !npu_task_fits(&core->task) || core->loaded > npu_surfaces(&core->task) ||
				  core->multiplied > npu_groups(&core->task) ||
				  (uint64_t)npu_kept_surfaces(&core->task) * core->task.rows * NPU_ATOM > NPU_FEATURE_BYTES;
	}
}

static void npu(struct npu *npu, struct stream *stream)
{
	bool present = put(stream, npu->present, 1);

	stream->failed |= present != npu->present;
	if (!present || stream->failed) {
		return;
	}
	FIELD_OF(stream, npu->power);
	FIELD_OF(stream, npu->clock);
	for (unsigned i = 0; i < NPU_CORES; i++) {
		npu_core(&npu->core[i], stream);
	}
}

/* What the table held is what it holds, but for entries that a call which has not ended yet has changed. */
static void table(struct machine *machine, struct stream *stream)
{
	struct table *table = &machine->table;
	const uint8_t *now = table->known ? memory_at(machine, table->base) : NULL;
	uint64_t bytes = put(stream, now ? table->bytes : 0, 8);

	if (bytes != (now ? table->bytes : 0)) {
		stream->failed = true;
		return;
	}
	if (stream->direction == RESTORE) {
		uint64_t index = 0;

		if (bytes) {
			memcpy(table->known, now, bytes);
		}
		while (!stream->failed && (index = put(stream, 0, 8)) < bytes) {
			table->known[index] = (uint8_t)put(stream, 0, 1);
		}
		return;
	}
	for (uint64_t i = 0; i < bytes; i++) {
		if (table->known[i] != now[i]) {
			put(stream, i, 8);
			put(stream, table->known[i], 1);
		}
	}
	put(stream, bytes, 8);
}

static void devices(struct machine *machine, struct stream *stream)
{
	for (unsigned i = 0; i < MAX_DEVICES; i++) {
		FIELD_OF(stream, machine->device[i].shows_array);
	}
}

static void walk(struct machine *machine, struct stream *stream)
{
	exclusive_monitor(machine, stream);
	general_registers(machine, stream);
	special_registers(machine, stream);
	core_fields(machine, stream);
	gic(&machine->gic, stream);
	filters(machine, stream);
	tlb(&machine->tlb, stream);
	machine->restores++;
	smmu(machine, stream);
	dma(machine, stream);
	npu(&machine->npu, stream);
	devices(machine, stream);
	table(machine, stream);
}

uint64_t state_save(struct machine *machine, uint8_t *bytes, uint64_t capacity)
{
	struct stream stream = {.direction = SAVE, .bytes = bytes, .end = capacity};

	walk(machine, &stream);
	return stream.at;
}

bool state_restore(struct machine *machine, const uint8_t *bytes, uint64_t count)
{
	struct stream stream = {.direction = RESTORE, .bytes = (uint8_t *)bytes, .end = count};

	walk(machine, &stream);
	machine->core.registers.current = 0;
	machine->core.scrubbed_count = 0;
	machine->core.trap.status = FSC_NONE;
	machine->core.float_traps = FLOAT_TRAPS_UNKNOWN;
	debug_restored(machine);
	core_flush(machine);
	if (machine->gic.present) {
		gic_update(machine);
		gic_virtual_update(machine);
	}
	timers_update(machine, machine->core.instructions);
	return !stream.failed && stream.at == stream.end;
}

static uint64_t take_dirty(struct memory *memory, uint64_t *pages, uint64_t capacity)
{
	uint64_t count = 0;

	for (uint64_t word = 0; word < (memory->bytes >> PAGE_SHIFT) / 64; word++) {
		while (memory->dirty[word] && count < capacity) {
			unsigned bit = (unsigned)__builtin_ctzll(memory->dirty[word]);

			memory->dirty[word] &= memory->dirty[word] - 1;
			pages[count++] = memory->base + ((word * 64 + bit) << PAGE_SHIFT);
		}
	}
	return count;
}

uint64_t state_dirty_pages(struct machine *machine, uint64_t *pages, uint64_t capacity)
{
	uint64_t count = take_dirty(&machine->sram, pages, capacity);

	core_flush(machine); /* the next store to a page is to be seen */
	count += take_dirty(&machine->dram, pages + count, capacity - count);
	return count + take_dirty(&machine->flash, pages + count, capacity - count);
}

uint8_t *state_medium(struct machine *machine, unsigned channel, uint64_t *bytes)
{
	const struct dma_channel *dma = &machine->dma.channel[channel];

	*bytes = dma->writable ? dma->medium_bytes : 0;
	return dma->writable ? dma->medium : NULL;
}
