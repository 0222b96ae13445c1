/*
 * Jobs of the NPU, step by step in guest time. A step first writes what the one before posted, then fetches a page of the
 * program, or loads part of the features, or multiplies some groups of kernels and posts their results.
 */
#include <string.h>

#include "fp16_product.h"
#include "int8_product.h"
#include "look_ahead.h"
#include "machine.h"

#define DONE_OF_GROUP_0                                                                                                \
	(NPU_PC_INTERRUPT_RAW_STATUS_CNA_FEATURE_0_MASK | NPU_PC_INTERRUPT_RAW_STATUS_CNA_WEIGHT_0_MASK |              \
	 NPU_PC_INTERRUPT_RAW_STATUS_CNA_CSC_0_MASK | NPU_PC_INTERRUPT_RAW_STATUS_CORE_0_MASK |                        \
	 NPU_PC_INTERRUPT_RAW_STATUS_DPU_0_MASK)

#define FEW_ROWS 16 /* of features: reading the weights takes the host longer than multiplying them */

static uint64_t ticks(uint64_t bytes, uint64_t macs, bool fp16)
{
	uint64_t moving = bytes / NPU_BYTES_A_TICK;
	uint64_t multiplying = macs / (fp16 ? NPU_FP16_A_TICK : NPU_INT8_A_TICK);

	return NPU_LATENCY + (moving > multiplying ? moving : multiplying);
}

void npu_start(struct machine *machine, struct npu_core *core)
{
	uint32_t base = npu_word(core, NPU_PC_BASE_ADDRESS);

	core->tasks = npu_word(core, NPU_PC_TASK_CON) & NPU_PC_TASK_CON_TASK_NUMBER_MASK;
	core->tasks_done = 0;
	core->fault = 0;
	event(machine, EVENT_NPU, npu_number(machine, core), NPU_STARTED, base, core->tasks);
	if (base & NPU_PC_BASE_ADDRESS_PC_SEL_MASK) {
		npu_fail(machine, core, NPU_NOT_IMPLEMENTED, NPU_PC_BASE_ADDRESS, base);
	} else if (core->tasks == 0) {
		npu_fail(machine, core, NPU_BAD_VALUE, NPU_PC_TASK_CON, npu_word(core, NPU_PC_TASK_CON));
	} else {
		npu_begin_program(core, base, npu_word(core, NPU_PC_REGISTER_AMOUNTS));
		core->due = core_instructions(machine) + NPU_START;
	}
}

/* --- features ----------------------------------------------------------------------------------------------------------------- */

/* Channels that the features do not have are zeros: those of the last atom, and of atoms that fill a block up. */
static void fill_up(struct npu_core *core)
{
	const struct npu_task *task = &core->task;
	uint32_t bytes = task->real_channels * (task->fp16 ? 2 : 1);
	uint32_t surface = task->rows * NPU_ATOM;
	uint32_t whole = bytes / NPU_ATOM;
	uint32_t all = npu_kept_surfaces(task);

	for (uint32_t row = 0; bytes % NPU_ATOM && row < task->rows; row++) {
		memset(core->buffer + whole * surface + row * NPU_ATOM + bytes % NPU_ATOM, 0, NPU_ATOM - bytes % NPU_ATOM);
	}
	whole += bytes % NPU_ATOM != 0;
	memset(core->buffer + whole * surface, 0, (size_t)(all - whole) * surface);
}

static uint64_t load(struct machine *machine, struct npu_core *core)
{
	const struct npu_task *task = &core->task;
	uint32_t surface = task->rows * NPU_ATOM;
	uint32_t moved = 0;

	if (core->loaded == 0) {
		uint32_t bytes = npu_kept_surfaces(task) * surface;

		core->used = core->used > bytes ? core->used : bytes;
		core->buffered = 0;
	}
	while (core->loaded < npu_surfaces(task) && (moved == 0 || moved + surface <= NPU_STEP_BYTES)) {
		bool dense = task->feature_stride == task->rows;
		uint32_t left = npu_surfaces(task) - core->loaded;
		uint32_t count = dense && surface < NPU_STEP_BYTES ? NPU_STEP_BYTES / surface : 1;
		uint32_t address = task->features + core->loaded * task->feature_stride * NPU_ATOM;
		const uint8_t *pages[NPU_STEP_PAGES];

		count = count < left ? count : left;
		if (!npu_open(machine, core, address, count * surface, pages)) {
			return 0;
		}
		npu_copy(core->buffer + core->loaded * surface, pages, address, 0, count * surface);
		core->loaded += count;
		moved += count * surface;
	}
	core->buffered += moved;
	if (core->loaded == npu_surfaces(task)) {
		fill_up(core);
		core->phase = NPU_MULTIPLYING;
	}
	return ticks(moved, 0, false);
}

/* --- products ----------------------------------------------------------------------------------------------------------------- */

/* How many groups one step takes: their weights and results stay within its bytes. */
static uint32_t groups_of_step(const struct npu_task *task)
{
	uint32_t weights = npu_blocks(task) * NPU_BLOCK_BYTES;
	uint32_t results = task->rows * npu_kernels_a_group(task) * 4;
	uint32_t count = NPU_STEP_BYTES / (weights > results ? weights : results);

	return count == 0 ? 1 : count < NPU_STEP_GROUPS ? count : NPU_STEP_GROUPS;
}

/* Sums that are stored as they are go into the post at once. */
static uint8_t *sums_of(struct machine *machine, const struct npu_core *core)
{
	return npu_stores_sums(&core->task) ? core->post.data + core->post.bytes : machine->npu.sums;
}

static bool product(struct machine *machine, const struct npu_core *core, const uint8_t *const *weights, uint32_t groups)
{
	uint32_t blocks = npu_blocks(&core->task);

	if (core->task.fp16) {
		return fp16_product(&(struct fp16_product){
			core->buffer, weights, (float *)(void *)sums_of(machine, core), core->task.rows, groups, blocks});
	}
	return int8_product(&(struct int8_product){
		(const int8_t *)core->buffer, (const int8_t *const *)weights, (int32_t *)(void *)sums_of(machine, core),
		core->task.rows, groups, blocks});
}

static uint64_t multiply(struct machine *machine, struct npu_core *core)
{
	const struct npu_task *task = &core->task;
	uint32_t a_group = npu_kernels_a_group(task);
	uint32_t blocks = npu_blocks(task);
	uint32_t left = npu_groups(task) - core->multiplied;
	uint32_t count = groups_of_step(task) < left ? groups_of_step(task) : left;
	uint32_t bytes = count * blocks * NPU_BLOCK_BYTES;
	uint32_t address = task->weights + core->multiplied * blocks * NPU_BLOCK_BYTES;
	const uint8_t *pages[NPU_STEP_PAGES];
	const uint8_t *weights[NPU_STEP_PAGES * (PAGE_SIZE / NPU_BLOCK_BYTES)];
	uint64_t macs = (uint64_t)task->rows * count * a_group * task->channels;

	if (!npu_open(machine, core, address, bytes, pages)) {
		return 0;
	}
	if (address % NPU_BLOCK_BYTES) {
		npu_copy(machine->npu.staging, pages, address, 0, bytes);
	}
	for (uint32_t i = 0; i < count * blocks; i++) {
		uint32_t offset = address % PAGE_SIZE + i * NPU_BLOCK_BYTES;

		weights[i] = address % NPU_BLOCK_BYTES ? machine->npu.staging + i * NPU_BLOCK_BYTES
						       : pages[offset / PAGE_SIZE] + offset % PAGE_SIZE;
	}
	if (task->rows <= FEW_ROWS) {
		look_ahead_note(weights[0], bytes);
	}
	if (!product(machine, core, weights, count)) { /* the host has no memory */
		npu_fail(machine, core, NPU_TOO_LARGE, NPU_CNA_WEIGHT_SIZE0, bytes);
		return 0;
	}
	if (!npu_store(machine, core, core->multiplied * a_group, (core->multiplied + count) * a_group)) {
		return 0;
	}
	core->multiplied += count;
	core->phase = core->multiplied == npu_groups(task) ? NPU_ENDING : NPU_MULTIPLYING;
	return ticks(bytes + core->post.bytes, macs, task->fp16);
}

/* --- steps -------------------------------------------------------------------------------------------------------------------- */

static void end_job(struct machine *machine, struct npu_core *core, unsigned group)
{
	core->phase = NPU_IDLE;
	core->counters.jobs++;
	core->raw_status |= DONE_OF_GROUP_0 << group;
	event(machine, EVENT_NPU, npu_number(machine, core), NPU_JOB_DONE, core->tasks_done);
	npu_signal(machine, core);
}

/* Its output is written. */
static uint64_t end_task(struct machine *machine, struct npu_core *core)
{
	const struct npu_task *task = &core->task;
	uint64_t macs = (uint64_t)task->rows * task->kernels * task->real_channels;
	unsigned group = npu_word(core, NPU_DPU_S_POINTER) & NPU_DPU_S_POINTER_EXECUTER_MASK ? 1 : 0;

	core->tasks_done++;
	core->counters.tasks++;
	core->counters.macs += macs;
	event(machine, EVENT_NPU, npu_number(machine, core), NPU_TASK_DONE, core->tasks_done, macs);
	npu_move_executers(core);
	if (core->tasks_done == core->tasks) {
		end_job(machine, core, group);
	} else if (core->program.next_address == 0) {
		npu_fail(machine, core, NPU_BAD_VALUE, NPU_PC_BASE_ADDRESS, 0);
	} else {
		npu_begin_program(core, core->program.next_address, core->program.next_amount);
	}
	return 0;
}

static void step(struct machine *machine, struct npu_core *core)
{
	uint64_t spent = 0;

	if (!npu_land(machine, core)) {
		return;
	}
	switch (core->phase) {
	case NPU_FETCHING:
		spent = ticks(npu_fetch(machine, core), 0, false);
		break;
	case NPU_LOADING:
		if (core->task.reuse) {
			core->phase = NPU_MULTIPLYING;
		} else {
			spent = load(machine, core);
		}
		break;
	case NPU_MULTIPLYING:
		spent = multiply(machine, core);
		break;
	default:
		spent = end_task(machine, core);
	}
	core->due += spent ? spent : 1;
}

static bool runs(const struct npu *npu, unsigned core)
{
	return npu->core[core].phase != NPU_IDLE && npu->power & npu->clock & 1u << core;
}

uint64_t npu_next_due(struct machine *machine)
{
	const struct npu *npu = &machine->npu;
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < NPU_CORES; i++) {
		if (runs(npu, i) && npu->core[i].due < due) {
			due = npu->core[i].due;
		}
	}
	return due;
}

void npu_advance(struct machine *machine)
{
	struct npu *npu = &machine->npu;

	for (unsigned i = 0; i < NPU_CORES; i++) {
		while (runs(npu, i) && npu->core[i].due <= core_instructions(machine)) {
			step(machine, &npu->core[i]);
		}
	}
}

void npu_drain(struct machine *machine)
{
	for (unsigned i = 0; i < NPU_CORES; i++) {
		npu_land(machine, &machine->npu.core[i]);
	}
}
