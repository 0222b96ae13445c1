/* Programs of the NPU: words of 64 bits, [63:48] target, [47:16] value, [15:0] register (Mesa rocket, rkt_regcmd.c). */
#include <string.h>

#include "machine.h"

#define WORD_BYTES 8
#define PAGE_WORDS (PAGE_SIZE / WORD_BYTES)
#define END_WORDS 4 /* next address, next amount, marker, operation enable: chained amounts do not count them */

enum command_target {
	TARGET_NONE = 0,
	TARGET_MARKER = 0x0041,
	TARGET_ENABLE = 0x0081,
	TARGET_PC = 0x0101,
};

/* The bits of a target are the blocks' numbers, and what selects a register write. */
static const struct {
	uint16_t target;
	uint16_t block;
} block_targets[] = {
	{0x0201, NPU_CNA_S_STATUS}, {0x0801, NPU_CORE_S_STATUS}, {0x1001, NPU_DPU_S_STATUS},
	{0x2001, NPU_RDMA_S_STATUS}, {0x4001, NPU_PPU_S_STATUS}, {0x8001, NPU_PPU_RDMA_S_STATUS},
};

/* What an operation enable must start, and what it may: DPU_RDMA stands by idle where nothing asks for it. */
#define ENABLES_NEEDED 0x0d
#define ENABLES_TAKEN 0x1d

enum verdict { GO_ON, END_OF_PROGRAM, FAILED };

static enum verdict refuse(struct machine *machine, struct npu_core *core, enum npu_problem problem, uint64_t word)
{
	npu_fail(machine, core, problem, (uint32_t)word & 0xffff, (uint32_t)(word >> 16));
	return FAILED;
}

void npu_begin_program(struct npu_core *core, uint32_t address, uint32_t amount)
{
	core->program = (struct npu_program){
		.address = address & NPU_PC_BASE_ADDRESS_PC_SOURCE_ADDR_MASK,
		.words = ((amount & NPU_PC_REGISTER_AMOUNTS_PC_DATA_AMOUNT_MASK) + 1) * 2 + END_WORDS,
	};
	core->phase = NPU_FETCHING;
}

/* PC's registers name the next program; the others are the driver's. */
static enum verdict write_pc(struct machine *machine, struct npu_core *core, uint64_t word)
{
	uint32_t value = (uint32_t)(word >> 16);

	switch (word & 0xffff) {
	case NPU_PC_BASE_ADDRESS:
		if (value & ~NPU_PC_BASE_ADDRESS_PC_SOURCE_ADDR_MASK) {
			return refuse(machine, core, NPU_UNALIGNED, word);
		}
		core->program.next_address = value;
		return GO_ON;
	case NPU_PC_REGISTER_AMOUNTS:
		core->program.next_amount = value;
		return GO_ON;
	default:
		return refuse(machine, core, npu_find(word & 0xffff) < 0 ? NPU_UNKNOWN_REGISTER : NPU_NOT_IMPLEMENTED, word);
	}
}

static enum verdict write_block(struct machine *machine, struct npu_core *core, uint64_t word, uint32_t block)
{
	uint32_t offset = (uint32_t)word & 0xffff;
	uint32_t value = (uint32_t)(word >> 16);
	int place = npu_find(offset);

	if (place < 0 || offset >> 12 != block >> 12 || !npu_register_table[place].writable ||
	    value & ~npu_register_table[place].declared) {
		return refuse(machine, core, NPU_UNKNOWN_REGISTER, word);
	}
	if (npu_is_absent(offset) && value) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, word);
	}
	if ((offset & 0xfff) == (NPU_CNA_OPERATION_ENABLE & 0xfff) && value) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, word);
	}
	npu_set(core, place, value);
	return GO_ON;
}

static enum verdict execute(struct machine *machine, struct npu_core *core, uint64_t word)
{
	uint16_t target = (uint16_t)(word >> 48);
	uint32_t value = (uint32_t)(word >> 16);

	switch (target) {
	case TARGET_NONE:
	case TARGET_MARKER:
		return GO_ON;
	case TARGET_ENABLE:
		if ((word & 0xffff) != NPU_PC_OPERATION_ENABLE) {
			return refuse(machine, core, NPU_UNKNOWN_REGISTER, word);
		}
		if (value & ~ENABLES_TAKEN || (value & ENABLES_NEEDED) != ENABLES_NEEDED) {
			return refuse(machine, core, NPU_NOT_IMPLEMENTED, word);
		}
		return END_OF_PROGRAM;
	case TARGET_PC:
		return write_pc(machine, core, word);
	default:
		for (unsigned i = 0; i < sizeof block_targets / sizeof block_targets[0]; i++) {
			if (block_targets[i].target == target) {
				return write_block(machine, core, word, block_targets[i].block);
			}
		}
		return refuse(machine, core, NPU_UNKNOWN_TARGET, word);
	}
}

static void end(struct machine *machine, struct npu_core *core)
{
	npu_move_pointers(core);
	if (npu_make_task(machine, core)) {
		core->loaded = core->multiplied = 0;
		core->phase = NPU_LOADING;
	}
}

uint32_t npu_fetch(struct machine *machine, struct npu_core *core)
{
	struct npu_program *program = &core->program;
	uint32_t count = (uint32_t)(PAGE_SIZE - program->address % PAGE_SIZE) / WORD_BYTES;
	const uint8_t *pages[NPU_STEP_PAGES];
	uint64_t words[PAGE_WORDS];

	count = count < program->words ? count : program->words;
	if (count == 0) {
		npu_fail(machine, core, NPU_NO_END, NPU_PC_REGISTER_AMOUNTS, npu_word(core, NPU_PC_REGISTER_AMOUNTS));
		return 0;
	}
	if (!npu_open(machine, core, program->address, count * WORD_BYTES, pages)) {
		return 0;
	}
	npu_copy((uint8_t *)words, pages, program->address, 0, count * WORD_BYTES);
	for (uint32_t i = 0; i < count; i++) {
		switch (execute(machine, core, words[i])) {
		case FAILED:
			return 0;
		case END_OF_PROGRAM:
			end(machine, core);
			return (i + 1) * WORD_BYTES;
		default:
			break;
		}
	}
	program->words -= count;
	program->address += count * WORD_BYTES;
	if (program->address == 0 && program->words) { /* beyond 32 bits */
		npu_fail(machine, core, NPU_TOO_LARGE, NPU_PC_REGISTER_AMOUNTS, npu_word(core, NPU_PC_REGISTER_AMOUNTS));
	}
	return count * WORD_BYTES;
}
