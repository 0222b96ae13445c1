/*
 * Traps of floating point and SIMD (Arm ARM D1.15: CPACR_EL1.FPEN, CPTR_EL2.TFP, CPTR_EL3.TFP), which the engine does not
 * know. While one is set, and software below EL3 has run or is about to, the block hook looks through each block before
 * it is executed, and remembers those that nothing catches. It then sees every block, so it knows the exception level from
 * the entries of exceptions (ours) and the blocks that end with an ERET.
 */
#include "core.h"

#define EC_UNKNOWN 0x00
#define EC_FLOATING_POINT 0x07
#define ISS_ALWAYS (UINT64_C(0x1e) << 20) /* CV, COND */

#define SCR_NS (1 << 0)
#define HCR_TGE (1 << 27)
#define CPTR_TFP (1 << 10)

#define IS_CPACR(reg) ((reg)->op1 == 0 && (reg)->crm == 0 && (reg)->op2 == 2)
#define IS_CPTR(reg) (((reg)->op1 == 4 || (reg)->op1 == 6) && (reg)->crm == 1 && (reg)->op2 == 2)

static unsigned enabled_levels(uint64_t cpacr) /* FPEN: 0 and 2 trap EL0 and EL1, 1 EL0, 3 nothing */
{
	return cpacr >> 20 & 3;
}

bool float_traps_depend_on(const uc_arm64_cp_reg *reg)
{
	return reg->op0 == 3 && reg->crn == 1 && (IS_CPACR(reg) || IS_CPTR(reg));
}

/* The write itself may be trapped: what it left is read when the next block begins. */
void float_traps_on_write(struct machine *machine)
{
	machine->core.float_traps = FLOAT_TRAPS_UNKNOWN;
	float_traps_forget(&machine->core);
	core_call_attention(machine);
}

bool float_traps_armed(struct machine *machine)
{
	struct core *core = &machine->core;

	if (core->float_traps == FLOAT_TRAPS_UNKNOWN) {
		core->float_traps = sysreg(machine, CPTR_EL3) & CPTR_TFP ? FLOAT_TRAPS_EVERYWHERE
				    : sysreg(machine, CPTR_EL2) & CPTR_TFP || enabled_levels(sysreg(machine, CPACR_EL1)) != 3
					    ? FLOAT_TRAPS_BELOW_EL3
					    : FLOAT_TRAPS_NOWHERE;
	}
	return core->float_traps == FLOAT_TRAPS_EVERYWHERE ||
	       (core->float_traps == FLOAT_TRAPS_BELOW_EL3 && core->was_below_el3);
}

/* The level that takes the trap of floating point at `level`; 0: none. */
static unsigned target_of(struct machine *machine, unsigned level)
{
	const struct translation_registers *registers = core_translation_registers(machine);
	unsigned enabled = enabled_levels(sysreg(machine, CPACR_EL1));
	bool normal = registers->scr_el3 & SCR_NS;

	if (level < 2 && enabled != 3 && (enabled != 1 || level == 0)) {
		return level == 0 && normal && registers->hcr_el2 & HCR_TGE ? 2 : 1;
	}
	if (level < 3 && normal && sysreg(machine, CPTR_EL2) & CPTR_TFP) {
		return 2;
	}
	return sysreg(machine, CPTR_EL3) & CPTR_TFP ? 3 : 0;
}

/* Loads, stores and data processing with V registers have bits 27:26 set; MRS and MSR of FPCR and FPSR (Arm ARM C4.1). */
static bool is_floating_point(uint32_t instruction)
{
	return (instruction & 0x0c000000) == 0x0c000000 || (instruction & 0xffdfffc0) == 0xd51b4400;
}

/* The first such instruction of a block, if it is trapped; the end of the block if there is none. */
static uint64_t find(struct machine *machine, uint64_t start, uint64_t end, unsigned level, uint32_t *last)
{
	for (uint64_t at = start; at < end; at += 4) {
		if (read_instruction(machine, at, level, last) && is_floating_point(*last) && target_of(machine, level)) {
			return at;
		}
	}
	return end;
}

bool float_trap_in_block(struct machine *machine, uint64_t start, uint64_t bytes)
{
	struct core *core = &machine->core;
	struct float_free *known = &core->float_free[start >> 2 & (FLOAT_FREE_BLOCKS - 1)];
	uint32_t last = 0;
	uint64_t at;

	if (core->float_level == LEVEL_UNKNOWN) {
		core->float_level = (uint8_t)current_level(machine);
	}
	if (known->start != start || known->bytes != bytes || known->level != core->float_level ||
	    known->generation != core->float_generation) {
		at = find(machine, start, start + bytes, core->float_level, &last);
		if (at != start + bytes) {
			core->caught_at = at;
			return true;
		}
		*known = (struct float_free){
			.start = start,
			.bytes = bytes,
			.generation = core->float_generation,
			.level = core->float_level,
			.returns = last == ERET,
		};
	}
	if (known->returns) {
		core->float_level = LEVEL_UNKNOWN; /* from the next block on */
	}
	return false;
}

void float_traps_forget(struct core *core)
{
	core->float_generation++;
	core->float_level = LEVEL_UNKNOWN;
}

void float_trap_take(struct machine *machine)
{
	unsigned level = current_level(machine);
	unsigned target = target_of(machine, level);
	bool redirected = level == 0 && target == 2 && enabled_levels(sysreg(machine, CPACR_EL1)) != 3; /* HCR_EL2.TGE */

	machine->core.caught_at = 0;
	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = target,
		.syndrome = redirected ? exception_syndrome(EC_UNKNOWN, 0) : exception_syndrome(EC_FLOATING_POINT, ISS_ALWAYS),
		.return_address = core_read_register(machine, REGISTER_PC),
	});
}
