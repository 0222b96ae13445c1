/* The NPU's registers: see npu.h. */
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define PC_BLOCK 0
#define BLOCK_OF(offset) ((offset) >> 12)
#define BLOCKS 8
#define POINTER_OF(block) ((block) << 12 | 4)
#define ABSENT_BLOCKS 0x5000 /* from here on */
#define NPU_OFFSETS 0x10000  /* of a core's window */

const struct npu_register npu_register_table[NPU_REGISTER_COUNT] = {NPU_REGISTER_ROWS};

/* --- the register table --------------------------------------------------------------------------------------------------- */

/* By offset / 4: one more than the register's place. */
static uint8_t place_of[NPU_OFFSETS / 4];

_Static_assert(NPU_REGISTER_COUNT < UINT8_MAX, "places fit a byte");

static void index_registers(void)
{
	for (unsigned i = 0; i < NPU_REGISTER_COUNT; i++) {
		place_of[npu_register_table[i].offset / 4] = (uint8_t)(i + 1);
	}
}

int npu_find(uint64_t offset)
{
	return offset < NPU_OFFSETS && offset % 4 == 0 ? place_of[offset / 4] - 1 : -1;
}

bool npu_is_absent(uint64_t offset)
{
	return offset >= ABSENT_BLOCKS && offset != POINTER_OF(BLOCK_OF(offset));
}

/* Status and pointer of a block are there once, and so is all of PC. */
static bool has_groups(uint32_t offset)
{
	return BLOCK_OF(offset) != PC_BLOCK && (offset & 0xfff) > 4;
}

static uint32_t *pointer_of(struct npu_core *core, uint32_t block)
{
	return &core->word[0][npu_find(POINTER_OF(block))];
}

static uint32_t pointer_value(const struct npu_core *core, uint32_t offset)
{
	return core->word[0][npu_find(POINTER_OF(BLOCK_OF(offset)))];
}

uint32_t npu_word(const struct npu_core *core, uint32_t offset)
{
	unsigned group = has_groups(offset) && pointer_value(core, offset) & NPU_CNA_S_POINTER_EXECUTER_MASK;

	return core->word[group][npu_find(offset)];
}

/* A pointer that moves by itself is not set by the same write. */
static void write_pointer(uint32_t *word, uint32_t value)
{
	uint32_t kept = NPU_CNA_S_POINTER_EXECUTER_MASK;
	uint32_t cleared = NPU_CNA_S_POINTER_POINTER_PP_CLEAR_MASK | NPU_CNA_S_POINTER_EXECUTER_PP_CLEAR_MASK;

	if (value & NPU_CNA_S_POINTER_POINTER_PP_EN_MASK) {
		kept |= NPU_CNA_S_POINTER_POINTER_MASK;
	}
	*word = (*word & kept) | (value & ~(kept | cleared));
	if (value & NPU_CNA_S_POINTER_POINTER_PP_CLEAR_MASK) {
		*word &= ~NPU_CNA_S_POINTER_POINTER_MASK;
	}
	if (value & NPU_CNA_S_POINTER_EXECUTER_PP_CLEAR_MASK) {
		*word &= ~NPU_CNA_S_POINTER_EXECUTER_MASK;
	}
}

void npu_set(struct npu_core *core, int place, uint32_t value)
{
	const struct npu_register *declared = &npu_register_table[place];
	uint32_t offset = declared->offset;

	value &= declared->writable;
	if (BLOCK_OF(offset) != PC_BLOCK && offset == POINTER_OF(BLOCK_OF(offset))) {
		write_pointer(&core->word[0][place], value);
	} else {
		unsigned group = has_groups(offset) && pointer_value(core, offset) & NPU_CNA_S_POINTER_POINTER_MASK;

		core->word[group][place] = value;
	}
}

static const uint32_t working_blocks[] = {
	BLOCK_OF(NPU_CNA_S_POINTER), BLOCK_OF(NPU_CORE_S_POINTER), BLOCK_OF(NPU_DPU_S_POINTER),
};

#define EACH_WORKING_BLOCK(i) (unsigned i = 0; i < sizeof working_blocks / sizeof working_blocks[0]; i++)

void npu_move_pointers(struct npu_core *core)
{
	for EACH_WORKING_BLOCK(i) {
		uint32_t *word = pointer_of(core, working_blocks[i]);
		uint32_t from = *word & NPU_CNA_S_POINTER_POINTER_PP_MODE_MASK ? *word & 1 : *word >> 16 & 1;

		if (*word & NPU_CNA_S_POINTER_POINTER_PP_EN_MASK) {
			*word = (*word & ~NPU_CNA_S_POINTER_POINTER_MASK) | (from ^ 1);
		}
	}
}

void npu_move_executers(struct npu_core *core)
{
	for EACH_WORKING_BLOCK(i) {
		uint32_t *word = pointer_of(core, working_blocks[i]);

		if (*word & NPU_CNA_S_POINTER_EXECUTER_PP_EN_MASK) {
			*word ^= NPU_CNA_S_POINTER_EXECUTER_MASK;
		}
	}
}

/* --- attaching ------------------------------------------------------------------------------------------------------------- */

bool npu_attach(struct machine *machine)
{
	struct npu *npu = &machine->npu;

	index_registers();
	npu->staging = calloc(1, NPU_STEP_PAGES * PAGE_SIZE);
	npu->sums = calloc(1, NPU_POST_BYTES);
	npu->present = npu->staging && npu->sums;
	for (unsigned i = 0; i < NPU_CORES; i++) {
		struct npu_core *core = &npu->core[i];

		core->buffer = calloc(1, NPU_FEATURE_BYTES);
		core->post.data = calloc(1, NPU_POST_BYTES);
		core->post.run = calloc(NPU_POST_RUNS, sizeof *core->post.run);
		npu->present = npu->present && core->buffer && core->post.data && core->post.run;
	}
	return npu->present;
}

void npu_release(struct machine *machine)
{
	struct npu *npu = &machine->npu;

	free(npu->staging);
	free(npu->sums);
	for (unsigned i = 0; i < NPU_CORES; i++) {
		free(npu->core[i].buffer);
		free(npu->core[i].post.data);
		free(npu->core[i].post.run);
	}
}

unsigned npu_number(struct machine *machine, const struct npu_core *core)
{
	return (unsigned)(core - machine->npu.core);
}

/* --- interrupt, reset ------------------------------------------------------------------------------------------------------ */

static uint32_t core_interrupts(const struct npu_core *core)
{
	return core->raw_status & npu_word(core, NPU_PC_INTERRUPT_MASK);
}

void npu_signal(struct machine *machine, struct npu_core *core)
{
	gic_set_level(machine, core->interrupt, core_interrupts(core) != 0);
}

static void drop(struct npu_core *core)
{
	core->phase = NPU_IDLE;
	core->post.bytes = core->post.runs = 0;
	core->buffered = 0; /* part of the features may be missing */
	for EACH_WORKING_BLOCK(i) { /* so that the next job's registers are those that it writes */
		uint32_t *word = pointer_of(core, working_blocks[i]);

		*word = (*word & ~NPU_CNA_S_POINTER_EXECUTER_MASK) | (*word & NPU_CNA_S_POINTER_POINTER_MASK) << 16;
	}
}

void npu_fail(struct machine *machine, struct npu_core *core, enum npu_problem problem, uint32_t offset, uint32_t value)
{
	event(machine, EVENT_NPU, npu_number(machine, core), NPU_FAULT, problem, offset, value);
	core->fault = (offset & 0xffff) | (uint32_t)problem << NPU_CONTROL_FAULT_PROBLEM_SHIFT;
	core->raw_status |= problem == NPU_DMA_READ	 ? NPU_PC_INTERRUPT_RAW_STATUS_DMA_READ_ERROR_MASK
			    : problem == NPU_DMA_WRITE ? NPU_PC_INTERRUPT_RAW_STATUS_DMA_WRITE_ERROR_MASK
						       : NPU_PC_INTERRUPT_RAW_STATUS_PROGRAM_ERROR_MASK;
	drop(core);
	npu_signal(machine, core);
}

void npu_abort(struct machine *machine, struct npu_core *core, uint32_t offset)
{
	if (core->phase != NPU_IDLE) {
		event(machine, EVENT_NPU, npu_number(machine, core), NPU_ABORTED, offset, core->tasks_done);
		drop(core);
	}
}

/* What is posted is dropped: who wants it written asks the SMMU for a CMD_SYNC before. */
static void reset(struct machine *machine, struct npu_core *core, uint32_t offset)
{
	npu_abort(machine, core, offset);
	for (unsigned i = 0; i < NPU_REGISTER_COUNT; i++) {
		core->word[0][i] = core->word[1][i] = npu_register_table[i].reset;
	}
	core->raw_status = core->fault = 0;
	core->tasks = core->tasks_done = core->loaded = core->multiplied = core->buffered = 0;
	core->program = (struct npu_program){0};
	core->task = (struct npu_task){0};
	memset(core->buffer, 0, core->used);
	core->used = 0;
	npu_signal(machine, core);
}

/* --- a core's window --------------------------------------------------------------------------------------------------------- */

/* Only groups that execute run; the executer's number is the place of its bits. */
static uint32_t block_status(const struct npu_core *core, uint32_t offset)
{
	bool runs = core->phase > NPU_FETCHING && offset < ABSENT_BLOCKS;

	return runs ? 1u << (pointer_value(core, offset) & NPU_CNA_S_POINTER_EXECUTER_MASK ? 16 : 0) : 0;
}

static uint32_t read_core(const struct npu_core *core, int place)
{
	uint32_t offset = npu_register_table[place].offset;
	unsigned group = has_groups(offset) && pointer_value(core, offset) & NPU_CNA_S_POINTER_POINTER_MASK;

	switch (offset) {
	case NPU_PC_INTERRUPT_STATUS:
		return core_interrupts(core);
	case NPU_PC_INTERRUPT_RAW_STATUS:
		return core->raw_status;
	case NPU_PC_TASK_STATUS:
		return core->tasks_done;
	case NPU_CNA_S_STATUS:
	case NPU_CORE_S_STATUS:
	case NPU_DPU_S_STATUS:
		return block_status(core, offset);
	default:
		return core->word[group][place] & npu_register_table[place].readable;
	}
}

static void enable(struct machine *machine, struct npu_core *core, bool start)
{
	bool busy = core->phase != NPU_IDLE;

	if (!start) {
		npu_abort(machine, core, NPU_PC_OPERATION_ENABLE);
	} else if (busy) {
		event(machine, EVENT_NPU, npu_number(machine, core), NPU_IGNORED, NPU_PC_OPERATION_ENABLE, start);
	} else {
		npu_start(machine, core);
	}
}

static void write_core(struct machine *machine, struct npu_core *core, int place, uint32_t value)
{
	uint32_t offset = npu_register_table[place].offset;

	switch (offset) {
	case NPU_PC_INTERRUPT_CLEAR:
		core->raw_status &= ~value;
		npu_signal(machine, core);
		break;
	case NPU_PC_OPERATION_ENABLE:
		npu_set(core, place, value & NPU_PC_OPERATION_ENABLE_OP_EN_MASK);
		enable(machine, core, value & NPU_PC_OPERATION_ENABLE_OP_EN_MASK);
		break;
	default:
		npu_set(core, place, value);
		if (offset == NPU_PC_INTERRUPT_MASK) {
			npu_signal(machine, core);
		}
	}
}

/* --- NPU_CONTROL ------------------------------------------------------------------------------------------------------------ */

static bool read_control(struct machine *machine, uint64_t offset, uint32_t *value)
{
	struct npu *npu = &machine->npu;

	*value = 0;
	switch (offset) {
	case NPU_CONTROL_POWER:
		*value = npu->power;
		return true;
	case NPU_CONTROL_CLOCK:
		*value = npu->clock;
		return true;
	case NPU_CONTROL_STATUS:
		for (unsigned i = 0; i < NPU_CORES; i++) {
			*value |= (uint32_t)(npu->core[i].phase != NPU_IDLE) << i;
		}
		return true;
	case NPU_CONTROL_FAULT(0):
	case NPU_CONTROL_FAULT(1):
	case NPU_CONTROL_FAULT(2):
		*value = npu->core[(offset - NPU_CONTROL_FAULT(0)) / 4].fault;
		return true;
	default:
		return false;
	}
}

static void reset_cores(struct machine *machine, uint32_t cores, uint32_t offset)
{
	for (unsigned i = 0; i < NPU_CORES; i++) {
		if (cores >> i & 1) {
			reset(machine, &machine->npu.core[i], offset);
		}
	}
}

static bool write_control(struct machine *machine, uint64_t offset, uint32_t value)
{
	struct npu *npu = &machine->npu;
	uint32_t cores = value & NPU_ALL_CORES;

	switch (offset) {
	case NPU_CONTROL_POWER:
		reset_cores(machine, npu->power ^ cores, NPU_CONTROL_POWER);
		npu->power = cores;
		break;
	case NPU_CONTROL_CLOCK:
		for (unsigned i = 0; i < NPU_CORES; i++) { /* a job that stood still goes on */
			if (cores & ~npu->clock & 1u << i && npu->core[i].due < core_instructions(machine)) {
				npu->core[i].due = core_instructions(machine) + NPU_LATENCY;
			}
		}
		npu->clock = cores;
		break;
	case NPU_CONTROL_RESET:
		reset_cores(machine, cores, NPU_CONTROL_RESET);
		break;
	default:
		return false;
	}
	return !(value & ~NPU_ALL_CORES);
}

/* --- the bus ------------------------------------------------------------------------------------------------------------------ */

void npu_wire(struct machine *machine, unsigned core, uint32_t stream, uint8_t nsaid, unsigned interrupt)
{
	struct npu_core *wired = &machine->npu.core[core];

	wired->stream = stream;
	wired->nsaid = nsaid;
	wired->interrupt = interrupt;
	reset(machine, wired, NPU_CONTROL_RESET);
}

void npu_add_window(struct machine *machine, int device, unsigned window)
{
	machine->device[device].npu_window = window + 1;
}

static bool answers(const struct npu *npu, unsigned core)
{
	return npu->power & npu->clock & 1u << core;
}

enum npu_access npu_read(struct machine *machine, unsigned window, uint64_t offset, unsigned size, uint32_t *value)
{
	int place;

	*value = 0;
	if (size != 4 || offset % 4 || window > NPU_CORES) {
		return NPU_NO_ANSWER;
	}
	if (window == 0) {
		return read_control(machine, offset, value) ? NPU_ACCESSED : NPU_UNDECLARED;
	}
	if (!answers(&machine->npu, window - 1)) {
		return NPU_NO_ANSWER;
	}
	place = npu_find(offset);
	if (place < 0 || !npu_register_table[place].readable) {
		return NPU_UNDECLARED;
	}
	*value = read_core(&machine->npu.core[window - 1], place);
	return NPU_ACCESSED;
}

enum npu_access npu_write(struct machine *machine, unsigned window, uint64_t offset, unsigned size, uint32_t value)
{
	int place;

	if (size != 4 || offset % 4 || window > NPU_CORES) {
		return NPU_NO_ANSWER;
	}
	if (window == 0) {
		return write_control(machine, offset, value) ? NPU_ACCESSED : NPU_UNDECLARED;
	}
	if (!answers(&machine->npu, window - 1)) {
		return NPU_NO_ANSWER;
	}
	place = npu_find(offset);
	if (place < 0 || !npu_register_table[place].writable) {
		return NPU_UNDECLARED;
	}
	write_core(machine, &machine->npu.core[window - 1], place, value & npu_register_table[place].writable);
	return value & ~npu_register_table[place].declared ? NPU_UNDECLARED : NPU_ACCESSED;
}

uint32_t npu_peek(struct machine *machine, unsigned window, uint64_t offset)
{
	uint32_t value = 0;
	int place = npu_find(offset);

	if (window == 0) {
		read_control(machine, offset, &value);
	} else if (place >= 0 && window <= NPU_CORES) {
		value = read_core(&machine->npu.core[window - 1], place);
	}
	return value;
}

void npu_counters(struct machine *machine, unsigned core, struct npu_counters *counters)
{
	*counters = core < NPU_CORES ? machine->npu.core[core].counters : (struct npu_counters){0};
}
