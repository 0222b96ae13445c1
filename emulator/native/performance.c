/*
 * The performance monitors of the Cortex-A72 (DDI 0488, chapter 11; Arm ARM D7): six event counters, of which the engine has
 * four. They hold what is written and count nothing: as on QEMU without an instruction counter, but for cycles, which time.c
 * answers.
 */
#include "core.h"

#define EVENT_COUNTERS ((UINT64_C(1) << PMU_COUNTERS) - 1)
#define CYCLE_COUNTER (UINT64_C(1) << 31)
#define CONTROL_ID UINT64_C(0x41023000) /* Arm, Cortex-A72, six counters */
#define CONTROL_WRITABLE 0xf9
#define CONTROL_RESETS_EVENTS 2
#define TYPE_WRITABLE UINT64_C(0xfe00ffff)
#define CYCLE_FILTER 31

#define USERENR_EN 1
#define USERENR_ER 8
#define MDCR_TPM (1 << 6)
#define SCR_NS (1 << 0)

enum kind { NONE, CONTROL, ENABLE_SET, ENABLE_CLEAR, OVERFLOW_SET, OVERFLOW_CLEAR, INTERRUPT_SET, INTERRUPT_CLEAR, COUNT, TYPE };

static unsigned selected(struct machine *machine)
{
	return (unsigned)sysreg(machine, PMSELR_EL0) & 31;
}

/* *index: of the event counter; one that does not exist for those that the engine answers. */
static enum kind kind_of(struct machine *machine, const uc_arm64_cp_reg *reg, unsigned *index)
{
	static const enum kind el0[] = {CONTROL, ENABLE_SET, ENABLE_CLEAR, OVERFLOW_CLEAR};

	*index = 0;
	if (reg->op0 != 3) {
		return NONE;
	}
	if (reg->op1 == 0 && reg->crn == 9 && reg->crm == 14) {
		return reg->op2 == 1 ? INTERRUPT_SET : reg->op2 == 2 ? INTERRUPT_CLEAR : NONE;
	}
	if (reg->op1 != 3) {
		return NONE;
	}
	if (reg->crn == 9 && reg->crm == 12) {
		return reg->op2 < 4 ? el0[reg->op2] : NONE;
	}
	if (reg->crn == 9 && reg->crm == 14 && reg->op2 == 3) {
		return OVERFLOW_SET;
	}
	if (reg->crn == 9 && reg->crm == 13 && (reg->op2 == 1 || reg->op2 == 2)) {
		*index = selected(machine);
		return *index >= PMU_COUNTERS ? NONE : reg->op2 == 1 ? TYPE : COUNT;
	}
	if (reg->crn == 14 && (reg->crm == 8 || reg->crm == 12) && reg->op2 < PMU_COUNTERS) {
		*index = reg->op2;
		return reg->crm == 8 ? COUNT : TYPE;
	}
	return NONE;
}

unsigned pmu_hypervisor_trap(struct machine *machine)
{
	unsigned level = current_level(machine);

	if (level < 2 && sysreg(machine, SCR_EL3) & SCR_NS && sysreg(machine, MDCR_EL2) & MDCR_TPM) {
		return 2;
	}
	return level < 3 && sysreg(machine, MDCR_EL3) & MDCR_TPM ? 3 : 0;
}

/* The level that takes a trap of the access; 0: it is permitted. */
static unsigned trap_target(struct machine *machine, enum kind kind, bool read)
{
	if (current_level(machine) == 0) {
		uint64_t user = sysreg(machine, PMUSERENR_EL0);

		if (kind == COUNT && read && user & USERENR_ER) {
			return 0;
		}
		if (!(user & USERENR_EN)) {
			return exception_default_target(machine, 0);
		}
	}
	return pmu_hypervisor_trap(machine);
}

static bool is_undefined(struct machine *machine, enum kind kind)
{
	return kind == NONE || ((kind == INTERRUPT_SET || kind == INTERRUPT_CLEAR) && current_level(machine) == 0);
}

static bool is_ours(struct machine *machine, const uc_arm64_cp_reg *reg, bool read, enum kind *kind, unsigned *index)
{
	*kind = kind_of(machine, reg, index);
	return !is_undefined(machine, *kind) && trap_target(machine, *kind, read) == 0;
}

bool pmu_read(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t *value)
{
	const struct pmu *pmu = &machine->core.pmu;
	enum kind kind;
	unsigned index;

	if (!is_ours(machine, reg, true, &kind, &index)) {
		return false;
	}
	switch (kind) {
	case CONTROL:
		*value = CONTROL_ID | pmu->control;
		break;
	case ENABLE_SET:
	case ENABLE_CLEAR:
		*value = pmu->enabled;
		break;
	case OVERFLOW_SET:
	case OVERFLOW_CLEAR:
		*value = pmu->overflows;
		break;
	case INTERRUPT_SET:
	case INTERRUPT_CLEAR:
		*value = pmu->interrupts;
		break;
	case COUNT:
		*value = pmu->count[index];
		break;
	default:
		*value = pmu->type[index];
		break;
	}
	return true;
}

bool pmu_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t value)
{
	struct pmu *pmu = &machine->core.pmu;
	uint32_t mask = (uint32_t)(value & (CYCLE_COUNTER | EVENT_COUNTERS));
	enum kind kind;
	unsigned index;

	if (!is_ours(machine, reg, false, &kind, &index)) {
		return false;
	}
	switch (kind) {
	case CONTROL:
		pmu->control = value & CONTROL_WRITABLE;
		for (unsigned i = 0; i < PMU_COUNTERS && value & CONTROL_RESETS_EVENTS; i++) {
			pmu->count[i] = 0;
		}
		break;
	case ENABLE_SET:
		pmu->enabled |= mask;
		break;
	case ENABLE_CLEAR:
		pmu->enabled &= ~mask;
		break;
	case OVERFLOW_SET:
		pmu->overflows |= mask;
		break;
	case OVERFLOW_CLEAR:
		pmu->overflows &= ~mask;
		break;
	case INTERRUPT_SET:
		pmu->interrupts |= mask;
		break;
	case INTERRUPT_CLEAR:
		pmu->interrupts &= ~mask;
		break;
	case COUNT:
		pmu->count[index] = (uint32_t)value;
		break;
	default:
		pmu->type[index] = (uint32_t)(value & TYPE_WRITABLE);
		break;
	}
	return true;
}

unsigned pmu_trap_target(struct machine *machine, const uc_arm64_cp_reg *reg, bool read)
{
	unsigned index;
	enum kind kind = kind_of(machine, reg, &index);

	return is_undefined(machine, kind) ? 0 : trap_target(machine, kind, read);
}
