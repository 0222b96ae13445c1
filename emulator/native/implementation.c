/*
 * The implementation-defined registers of the Cortex-A72 (DDI 0488, 4.3), which the engine finds undefined. As on QEMU
 * they read as zero and ignore writes.
 */
#include "machine.h"

#define EC_SYSTEM_REGISTER 0x18
#define HCR_TIDCP (1 << 20)
#define SCR_NS (1 << 0)

#define IS_SYSTEM_ACCESS(instruction) (((instruction) & 0xffd00000) == 0xd5100000) /* MSR and MRS of op0 2 and 3 */
#define IS_READ(instruction) ((instruction) >> 21 & 1)
#define REGISTER_NUMBER(instruction) ((instruction) >> 5 & 0x7fff)
#define NUMBER(op0, op1, crn, crm, op2) (((op0) & 1) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))

static bool is_present(uint32_t number)
{
	switch (number) {
	case NUMBER(3, 1, 11, 0, 2): /* L2CTLR_EL1: one core */
	case NUMBER(3, 1, 11, 0, 3): /* L2ECTLR_EL1 */
	case NUMBER(3, 1, 15, 0, 0): /* L2ACTLR_EL1 */
	case NUMBER(3, 1, 15, 2, 0): /* CPUACTLR_EL1 */
	case NUMBER(3, 1, 15, 2, 1): /* CPUECTLR_EL1 */
	case NUMBER(3, 1, 15, 2, 2): /* CPUMERRSR_EL1 */
	case NUMBER(3, 1, 15, 2, 3): /* L2MERRSR_EL1 */
		return true;
	default:
		return false;
	}
}

/* HCR_EL2.TIDCP: EL1 may not touch implementation-defined registers (ISS of an MSR or MRS, Arm ARM ESR_ELx). */
static void trap(struct machine *machine, uint32_t instruction, uint64_t pc)
{
	uint64_t number = REGISTER_NUMBER(instruction);
	uint64_t iss = UINT64_C(3) << 20 | (number & 7) << 17 | (number >> 11 & 7) << 14 | (number >> 7 & 15) << 10 |
		       (uint64_t)(instruction & 31) << 5 | (number >> 3 & 15) << 1 | IS_READ(instruction);

	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = 2,
		.syndrome = exception_syndrome(EC_SYSTEM_REGISTER, iss),
		.return_address = pc,
	});
}

bool implementation_register(struct machine *machine, uint64_t pc, unsigned level)
{
	const struct translation_registers *registers = core_translation_registers(machine);
	uint32_t instruction, number;

	if (level == 0 || !read_instruction(machine, pc, level, &instruction) || !IS_SYSTEM_ACCESS(instruction)) {
		return false;
	}
	number = REGISTER_NUMBER(instruction);
	if (!is_present(number)) {
		return false;
	}
	if (level == 1 && registers->scr_el3 & SCR_NS && registers->hcr_el2 & HCR_TIDCP) {
		trap(machine, instruction, pc);
		return true;
	}
	if (IS_READ(instruction) && (instruction & 31) != 31) {
		core_write_register(machine, instruction & 31, 0);
	}
	core_write_register(machine, REGISTER_PC, pc + 4);
	machine->core.instructions++;
	return true;
}
