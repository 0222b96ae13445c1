/*
 * Registers of the Cortex-A72 that the engine finds undefined: the implementation-defined ones (DDI 0488, 4.3), which as on
 * QEMU read as zero and ignore writes, one of debug, and two event counters (performance.c).
 */
#include "core.h"

#define EC_SYSTEM_REGISTER 0x18
#define HCR_TIDCP (1 << 20)
#define HCR_TGE (1 << 27)
#define SCR_NS (1 << 0)
#define MDCR_EL2_TDE (1 << 8)
#define MDCR_TDA (1 << 9)
#define MDSCR_TDCC (1 << 12)

#define IS_SYSTEM_ACCESS(instruction) (((instruction) & 0xffd00000) == 0xd5100000) /* MSR and MRS of op0 2 and 3 */
#define IS_READ(instruction) ((instruction) >> 21 & 1)
#define REGISTER_NUMBER(instruction) ((instruction) >> 5 & 0x7fff)
#define NUMBER(op0, op1, crn, crm, op2) (((op0) & 1) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))

enum traps { BY_TIDCP, BY_TDA };

static const struct lacking {
	uint16_t number;
	uint8_t level; /* that it takes */
	bool read_only;
	enum traps traps;
} lacking[] = {
	{NUMBER(3, 1, 11, 0, 2), 1, false, BY_TIDCP}, /* L2CTLR_EL1: one core */
	{NUMBER(3, 1, 11, 0, 3), 1, false, BY_TIDCP}, /* L2ECTLR_EL1 */
	{NUMBER(3, 1, 15, 0, 0), 1, false, BY_TIDCP}, /* L2ACTLR_EL1 */
	{NUMBER(3, 1, 15, 2, 0), 1, false, BY_TIDCP}, /* CPUACTLR_EL1 */
	{NUMBER(3, 1, 15, 2, 1), 1, false, BY_TIDCP}, /* CPUECTLR_EL1 */
	{NUMBER(3, 1, 15, 2, 2), 1, false, BY_TIDCP}, /* CPUMERRSR_EL1 */
	{NUMBER(3, 1, 15, 2, 3), 1, false, BY_TIDCP}, /* L2MERRSR_EL1 */
	{NUMBER(2, 3, 0, 1, 0), 0, true, BY_TDA},     /* MDCCSR_EL0: nothing is in the channel */
};

static const struct lacking *find(uint32_t number)
{
	for (size_t i = 0; i < sizeof lacking / sizeof lacking[0]; i++) {
		if (lacking[i].number == number) {
			return &lacking[i];
		}
	}
	return NULL;
}

/* The level that takes a trap of the access; 0: it is permitted. */
static unsigned trap_target(struct machine *machine, enum traps traps, unsigned level)
{
	const struct translation_registers *registers = core_translation_registers(machine);
	bool below_el2 = level < 2 && registers->scr_el3 & SCR_NS;

	if (traps == BY_TIDCP) {
		return below_el2 && registers->hcr_el2 & HCR_TIDCP ? 2 : 0;
	}
	if (level == 0 && sysreg(machine, MDSCR_EL1) & MDSCR_TDCC) {
		return exception_default_target(machine, level);
	}
	if (below_el2 && (sysreg(machine, MDCR_EL2) & (MDCR_TDA | MDCR_EL2_TDE) || registers->hcr_el2 & HCR_TGE)) {
		return 2;
	}
	return level < 3 && sysreg(machine, MDCR_EL3) & MDCR_TDA ? 3 : 0;
}

/* ISS of an MSR or MRS (Arm ARM ESR_ELx). */
static void trap(struct machine *machine, uint32_t instruction, uint64_t pc, unsigned target)
{
	uint64_t number = REGISTER_NUMBER(instruction);
	uint64_t iss = (number >> 14 | UINT64_C(2)) << 20 | (number & 7) << 17 | (number >> 11 & 7) << 14 |
		       (number >> 7 & 15) << 10 | (uint64_t)(instruction & 31) << 5 | (number >> 3 & 15) << 1 |
		       IS_READ(instruction);

	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = target,
		.syndrome = exception_syndrome(EC_SYSTEM_REGISTER, iss),
		.return_address = pc,
	});
}

static void next(struct machine *machine, uint64_t pc)
{
	core_write_register(machine, REGISTER_PC, pc + 4);
	machine->core.instructions++;
}

static bool event_counter(struct machine *machine, uint32_t instruction, uint64_t pc)
{
	uint32_t number = REGISTER_NUMBER(instruction);
	unsigned index = instruction & 31;
	uc_arm64_cp_reg reg = {
		.op0 = 2 | number >> 14, .op1 = number >> 11 & 7, .crn = number >> 7 & 15, .crm = number >> 3 & 15, .op2 = number & 7,
	};
	unsigned target = pmu_trap_target(machine, &reg, IS_READ(instruction));
	uint64_t value = 0;

	if (target) {
		trap(machine, instruction, pc, target);
		return true;
	}
	if (IS_READ(instruction)) {
		if (!pmu_read(machine, &reg, &value)) {
			return false;
		}
		if (index != 31) {
			core_write_register(machine, index, value);
		}
	} else if (!pmu_write(machine, &reg, index == 31 ? 0 : core_read_register(machine, index))) {
		return false;
	}
	next(machine, pc);
	return true;
}

bool implementation_register(struct machine *machine, uint64_t pc, unsigned level)
{
	const struct lacking *found;
	uint32_t instruction;
	unsigned target;

	if (!read_instruction(machine, pc, level, &instruction) || !IS_SYSTEM_ACCESS(instruction)) {
		return false;
	}
	found = find(REGISTER_NUMBER(instruction));
	if (!found) {
		return event_counter(machine, instruction, pc);
	}
	if (level < found->level || (found->read_only && !IS_READ(instruction))) {
		return false;
	}
	target = trap_target(machine, found->traps, level);
	if (target) {
		trap(machine, instruction, pc, target);
		return true;
	}
	if (IS_READ(instruction) && (instruction & 31) != 31) {
		core_write_register(machine, instruction & 31, 0);
	}
	next(machine, pc);
	return true;
}
