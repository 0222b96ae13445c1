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

void core_read_first(struct machine *machine, uint64_t *values, unsigned count)
{
	int registers[31];
	void *pointers[31];

	for (unsigned i = 0; i < count; i++) {
		registers[i] = engine_register(i);
		pointers[i] = &values[i];
	}
	uc_reg_read_batch(machine->core.engine, registers, pointers, (int)count);
}

void core_write_first(struct machine *machine, const uint64_t *values, unsigned count)
{
	int registers[31];
	const void *pointers[31];

	for (unsigned i = 0; i < count; i++) {
		registers[i] = engine_register(i);
		pointers[i] = &values[i];
	}
	uc_reg_write_batch(machine->core.engine, registers, (void *const *)(void *)pointers, (int)count);
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

/* Every register of struct translation_registers, by its encoding. */
static const struct {
	unsigned op0, op1, crn, crm, op2;
	size_t offset;
} kept[] = {
#define KEPT(field, ...) {__VA_ARGS__, offsetof(struct translation_registers, field)}
	KEPT(scr_el3, SCR_EL3),     KEPT(hcr_el2, HCR_EL2),     KEPT(vtcr_el2, VTCR_EL2),   KEPT(vttbr_el2, VTTBR_EL2),
	KEPT(sctlr_el1, SCTLR_EL1), KEPT(tcr_el1, TCR_EL1),     KEPT(ttbr0_el1, TTBR0_EL1), KEPT(ttbr1_el1, TTBR1_EL1),
	KEPT(mair_el1, MAIR_EL1),   KEPT(sctlr_el2, SCTLR_EL2), KEPT(tcr_el2, TCR_EL2),     KEPT(ttbr0_el2, TTBR0_EL2),
	KEPT(mair_el2, MAIR_EL2),   KEPT(sctlr_el3, SCTLR_EL3), KEPT(tcr_el3, TCR_EL3),     KEPT(ttbr0_el3, TTBR0_EL3),
	KEPT(mair_el3, MAIR_EL3),   KEPT(vbar[1], VBAR_EL1),    KEPT(vbar[2], VBAR_EL2),    KEPT(vbar[3], VBAR_EL3),
	KEPT(mdscr_el1, MDSCR_EL1),
};

#define KEPT_COUNT (sizeof kept / sizeof kept[0])
#define ALL_KEPT ((UINT32_C(1) << KEPT_COUNT) - 1)

void core_note_write(struct core *core, const uc_arm64_cp_reg *reg)
{
	if (reg->op0 == 3 ? reg->crn != 1 && reg->crn != 2 && reg->crn != 10 && reg->crn != 12
			  : reg->op0 != 2 || reg->crn != 0) {
		return;
	}
	float_traps_forget(core);
	for (size_t i = 0; i < KEPT_COUNT; i++) {
		if (kept[i].op0 == reg->op0 && kept[i].crn == reg->crn && kept[i].op1 == reg->op1 &&
		    kept[i].crm == reg->crm && kept[i].op2 == reg->op2) {
			core->registers.current &= ~(UINT32_C(1) << i);
		}
	}
}

void core_store_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
		       uint64_t value)
{
	uc_arm64_cp_reg reg = {.crn = crn, .crm = crm, .op0 = op0, .op1 = op1, .op2 = op2, .val = value};

	core_note_write(&machine->core, &reg);
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

static void read_again(struct machine *machine, struct translation_registers *registers)
{
	machine->core.fetched.host = NULL;
	for (size_t i = 0; i < KEPT_COUNT; i++) {
		if (!(registers->current >> i & 1)) {
			*(uint64_t *)((char *)registers + kept[i].offset) = core_read_sysreg(
				machine, kept[i].op0, kept[i].op1, kept[i].crn, kept[i].crm, kept[i].op2);
		}
	}
	registers->current = ALL_KEPT;
}

const struct translation_registers *core_translation_registers(struct machine *machine)
{
	struct translation_registers *registers = &machine->core.registers;

	if (registers->current != ALL_KEPT) {
		read_again(machine, registers);
	}
	return registers;
}
