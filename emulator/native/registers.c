/* The core's registers, and a copy of those that translation reads on every miss. */
#include "core.h"

static int engine_register(unsigned index)
{
	if (index < 29) {
		return UC_ARM64_REG_X0 + (int)index;
	}
	switch (index) {
	case 29:
		return UC_ARM64_REG_X29;
	case 30:
		return UC_ARM64_REG_X30;
	case REGISTER_SP:
		return UC_ARM64_REG_SP;
	case REGISTER_PC:
		return UC_ARM64_REG_PC;
	default:
		return UC_ARM64_REG_PSTATE;
	}
}

uint64_t core_read_register(struct machine *machine, unsigned index)
{
	uint64_t value = 0;

	uc_reg_read(machine->core.engine, engine_register(index), &value);
	return index == REGISTER_PSTATE ? (uint32_t)value : value;
}

/* One call of the engine for many registers: half of what an exception costs is reading and writing them. */
void core_read_registers(struct machine *machine, const int *registers, uint64_t *values, int count)
{
	void *pointers[8];

	for (int i = 0; i < count; i++) {
		pointers[i] = &values[i];
	}
	uc_reg_read_batch(machine->core.engine, registers, pointers, count);
}

void core_write_register(struct machine *machine, unsigned index, uint64_t value)
{
	uc_reg_write(machine->core.engine, engine_register(index), &value);
}

void core_read_vector(struct machine *machine, unsigned index, uint64_t *low, uint64_t *high)
{
	uint64_t value[2] = {0};

	uc_reg_read(machine->core.engine, UC_ARM64_REG_Q0 + (int)index, value);
	*low = value[0];
	*high = value[1];
}

void core_write_vector(struct machine *machine, unsigned index, uint64_t low, uint64_t high)
{
	uint64_t value[2] = {low, high};

	uc_reg_write(machine->core.engine, UC_ARM64_REG_Q0 + (int)index, value);
}

bool core_is_hcr(const uc_arm64_cp_reg *reg)
{
	return reg->op0 == 3 && reg->op1 == 4 && reg->crn == 1 && reg->crm == 1 && reg->op2 == 0;
}

uint64_t core_read_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2)
{
	uc_arm64_cp_reg reg = {.crn = crn, .crm = crm, .op0 = op0, .op1 = op1, .op2 = op2};

	uint64_t value;

	if (crn == 14 && time_peek(machine, &reg, machine->core.instructions, &value)) {
		return value;
	}
	uc_reg_read(machine->core.engine, UC_ARM64_REG_CP_REG, &reg);
	return core_is_hcr(&reg) ? reg.val | machine->core.hcr_virtual : reg.val;
}

void core_note_write(struct core *core, unsigned op0, unsigned crn)
{
	if (op0 == 3 && (crn == 1 || crn == 2 || crn == 10 || crn == 12)) {
		core->registers.valid = false;
		float_traps_forget(core);
	}
}

void core_store_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
		       uint64_t value)
{
	uc_arm64_cp_reg reg = {.crn = crn, .crm = crm, .op0 = op0, .op1 = op1, .op2 = op2, .val = value};

	core_note_write(&machine->core, op0, crn);
	if (core_is_hcr(&reg)) {
		reg.val = interrupt_keep_virtual(machine, value);
	}
	uc_reg_write(machine->core.engine, UC_ARM64_REG_CP_REG, &reg);
}

void core_write_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
		       uint64_t value)
{
	uc_arm64_cp_reg reg = {.crn = crn, .crm = crm, .op0 = op0, .op1 = op1, .op2 = op2, .val = value};

	if (float_traps_depend_on(&reg)) {
		float_traps_on_write(machine);
	}
	if (returns_depend_on(&reg)) {
		returns_on_write(machine, &reg, value);
	}
	if (crn == 14 && time_poke(machine, &reg, machine->core.instructions, value)) {
		return;
	}
	core_store_sysreg(machine, op0, op1, crn, crm, op2, value);
}

const struct translation_registers *core_translation_registers(struct machine *machine)
{
	struct translation_registers *registers = &machine->core.registers;

	if (!registers->valid) {
		machine->core.fetched.host = NULL;
		*registers = (struct translation_registers){
			.valid = true,
			.scr_el3 = sysreg(machine, SCR_EL3),
			.hcr_el2 = sysreg(machine, HCR_EL2),
			.vtcr_el2 = sysreg(machine, VTCR_EL2),
			.vttbr_el2 = sysreg(machine, VTTBR_EL2),
			.sctlr_el1 = sysreg(machine, SCTLR_EL1),
			.tcr_el1 = sysreg(machine, TCR_EL1),
			.ttbr0_el1 = sysreg(machine, TTBR0_EL1),
			.ttbr1_el1 = sysreg(machine, TTBR1_EL1),
			.mair_el1 = sysreg(machine, MAIR_EL1),
			.sctlr_el2 = sysreg(machine, SCTLR_EL2),
			.tcr_el2 = sysreg(machine, TCR_EL2),
			.ttbr0_el2 = sysreg(machine, TTBR0_EL2),
			.mair_el2 = sysreg(machine, MAIR_EL2),
			.sctlr_el3 = sysreg(machine, SCTLR_EL3),
			.tcr_el3 = sysreg(machine, TCR_EL3),
			.ttbr0_el3 = sysreg(machine, TTBR0_EL3),
			.mair_el3 = sysreg(machine, MAIR_EL3),
			.vbar = {0, sysreg(machine, VBAR_EL1), sysreg(machine, VBAR_EL2), sysreg(machine, VBAR_EL3)},
		};
	}
	return registers;
}
