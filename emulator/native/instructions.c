/* What the core executes: each instruction with its registers and accesses, or how often each is executed. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define CAPACITY 16384

static const int traced_registers[] = {
	UC_ARM64_REG_X0,  UC_ARM64_REG_X1,  UC_ARM64_REG_X2,  UC_ARM64_REG_X3,  UC_ARM64_REG_X4,  UC_ARM64_REG_X5,
	UC_ARM64_REG_X6,  UC_ARM64_REG_X7,  UC_ARM64_REG_X8,  UC_ARM64_REG_X9,  UC_ARM64_REG_X10, UC_ARM64_REG_X11,
	UC_ARM64_REG_X12, UC_ARM64_REG_X13, UC_ARM64_REG_X14, UC_ARM64_REG_X15, UC_ARM64_REG_X16, UC_ARM64_REG_X17,
	UC_ARM64_REG_X18, UC_ARM64_REG_X19, UC_ARM64_REG_X20, UC_ARM64_REG_X21, UC_ARM64_REG_X22, UC_ARM64_REG_X23,
	UC_ARM64_REG_X24, UC_ARM64_REG_X25, UC_ARM64_REG_X26, UC_ARM64_REG_X27, UC_ARM64_REG_X28, UC_ARM64_REG_X29,
	UC_ARM64_REG_X30, UC_ARM64_REG_SP,
};

bool instructions_full(const struct machine *machine)
{
	return machine->instructions.buffer && machine->instructions.used + 1 >= CAPACITY;
}

static void read_data(struct machine *machine, struct instruction *instruction)
{
	uint64_t bytes = (uint64_t)instruction->size * instruction->elements;
	uint64_t rest = PAGE_SIZE - (instruction->target & ~PAGE_MASK);
	const uint8_t *host = instruction->target ? memory_at(machine, instruction->target) : NULL;

	bytes = bytes < rest ? bytes : rest;
	if (host && bytes <= sizeof instruction->data) {
		memcpy(instruction->data, host, bytes);
	} else {
		instruction->elements = 0;
	}
}

/* It has executed, so its translation is in the TLB, and looking it up again changes nothing. */
static void note_access(struct machine *machine, struct instruction *instruction)
{
	enum access kind = instruction->store ? ACCESS_WRITE : ACCESS_READ;
	unsigned level = instruction->pstate >> 2 & 3;
	struct translation translation;
	struct fault unused;

	if (load_store_is_unprivileged(instruction->opcode) && level == 1) {
		level = 0;
	}
	if (translate(machine, instruction->address, kind, level, &translation, &unused)) {
		instruction->target = translation.address;
		read_data(machine, instruction);
	}
}

static void finish(struct machine *machine, uint64_t now)
{
	struct instructions *instructions = &machine->instructions;
	struct instruction *last = &instructions->buffer[instructions->used];

	if (!instructions->pending) {
		return;
	}
	last->completed = now > last->time;
	if (last->completed && last->elements) {
		note_access(machine, last);
	}
	instructions->pending = false;
	instructions->used++;
	if (instructions_full(machine)) {
		core_call_attention(machine);
	}
}

static void decode(struct machine *machine, struct instruction *instruction)
{
	struct load_store access;

	if (load_store_decode(machine, instruction->opcode, instruction->pc, &access)) {
		instruction->store = access.store;
		instruction->size = access.size;
		instruction->elements = access.elements;
		instruction->address = access.address;
	}
}

static void on_instruction(uc_engine *engine, uint64_t address, uint32_t size, void *user)
{
	struct machine *machine = user;
	struct instructions *instructions = &machine->instructions;
	struct instruction *next;
	uint64_t now = core_time_at(machine, address);
	unsigned level = current_level(machine);
	void *pointers[32];

	(void)size;
	finish(machine, now);
	if (!(instructions->levels >> level & 1) || now < instructions->first || now >= instructions->end ||
	    instructions_full(machine)) {
		return;
	}
	next = &instructions->buffer[instructions->used];
	memset(next, 0, sizeof *next);
	next->time = now;
	next->pc = address;
	next->pstate = (uint32_t)core_read_register(machine, REGISTER_PSTATE);
	next->normal = core_translation_registers(machine)->scr_el3 & 1;
	for (unsigned i = 0; i < 32; i++) {
		pointers[i] = &next->x[i];
	}
	uc_reg_read_batch(engine, traced_registers, pointers, 32);
	read_instruction(machine, address, level, &next->opcode);
	next->physical = (machine->core.fetched.physical & PAGE_MASK) | (address & ~PAGE_MASK);
	decode(machine, next);
	instructions->pending = true;
}

bool instructions_record(struct machine *machine, unsigned levels, uint64_t first, uint64_t end)
{
	struct instructions *instructions = &machine->instructions;
	uc_hook unused;

	if (!instructions->buffer) {
		instructions->buffer = calloc(CAPACITY, sizeof *instructions->buffer);
		if (!instructions->buffer || !core_hook_code(machine, 1, 0, on_instruction, machine, &unused)) {
			return false;
		}
		core_forget_all_code(machine);
	}
	instructions->levels = levels;
	instructions->first = first;
	instructions->end = end;
	return true;
}

uint64_t instructions_drain(struct machine *machine, struct instruction *out, uint64_t capacity)
{
	struct instructions *instructions = &machine->instructions;
	uint64_t count = instructions->used < capacity ? instructions->used : capacity;
	uint64_t left = instructions->used + instructions->pending - count;

	memcpy(out, instructions->buffer, count * sizeof *out);
	memmove(instructions->buffer, instructions->buffer + count, left * sizeof *out);
	instructions->used -= count;
	return count;
}

/* --- counts ------------------------------------------------------------------------------------------------------- */

static void on_counted(uc_engine *engine, uint64_t address, uint32_t size, void *user)
{
	struct counted_range *range = user;

	(void)engine;
	(void)size;
	range->counts[(address - range->base) / 4]++;
}

unsigned instructions_count(struct machine *machine, uint64_t base, uint64_t bytes)
{
	struct instructions *instructions = &machine->instructions;
	struct counted_range *range = &instructions->range[instructions->ranges];
	uc_hook unused;

	if (instructions->ranges == MAX_COUNTED_RANGES || bytes == 0) {
		return 0;
	}
	*range = (struct counted_range){.base = base, .counts = calloc((bytes + 3) / 4, sizeof *range->counts)};
	if (!range->counts || !core_hook_code(machine, base, base + bytes - 1, on_counted, range, &unused)) {
		free(range->counts);
		return 0;
	}
	core_forget_all_code(machine);
	return ++instructions->ranges;
}

const uint64_t *instructions_counts(struct machine *machine, unsigned range)
{
	return machine->instructions.range[range - 1].counts;
}

void instructions_release(struct machine *machine)
{
	struct instructions *instructions = &machine->instructions;

	free(instructions->buffer);
	for (unsigned i = 0; i < instructions->ranges; i++) {
		free(instructions->range[i].counts);
	}
}
