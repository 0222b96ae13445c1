/*
 * Guest time as the guest reads it: counters, timers and the cycle counter (Arm ARM D11, D13). The engine would take all
 * of them from the host's clock, and keeps no control register. CNTVOFF_EL2 is not used. Timers raise no interrupt, but
 * say when they are due.
 */
#include "core.h"

#define CNTKCTL_EL0PTEN (1 << 9)
#define CNTKCTL_EL0VTEN (1 << 8)
#define PMUSERENR_EN_CR 5
#define SCR_NS (1 << 0)
#define SCR_ST (1 << 11)

#define CTL_ENABLE 1
#define CTL_MASKED 2
#define CTL_DUE 4

enum timer_register { TVAL, CTL, CVAL };

static bool is_counter(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 3 && reg->crn == 14 && reg->crm == 0 && (reg->op2 == 1 || reg->op2 == 2);
}

/* CNTP, CNTV, CNTHP and CNTPS. */
static bool is_timer(const uc_arm64_cp_reg *reg)
{
	bool virtual = reg->op1 == 3 && reg->crm == 3;
	bool physical = (reg->op1 == 3 || reg->op1 == 4 || reg->op1 == 7) && reg->crm == 2;

	return reg->crn == 14 && (virtual || physical) && reg->op2 <= CVAL;
}

static bool is_cycle_counter(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 3 && reg->crn == 9 && reg->crm == 13 && reg->op2 == 0;
}

/* What EL0 needs set in CNTKCTL_EL1. */
static uint64_t el0_permit(const uc_arm64_cp_reg *reg)
{
	return is_counter(reg) ? reg->op2 : reg->crm == 2 ? CNTKCTL_EL0PTEN : CNTKCTL_EL0VTEN;
}

/* Where it is not permitted the engine finds the instruction undefined, without our help. */
static bool is_permitted(struct machine *machine, const uc_arm64_cp_reg *reg)
{
	unsigned level = current_level(machine);
	uint64_t scr = core_translation_registers(machine)->scr_el3;

	if (reg->op1 == 4) {
		return level >= 2;
	}
	if (reg->op1 == 7) {
		return level == 3 || (level == 1 && !(scr & SCR_NS) && scr & SCR_ST);
	}
	if (level > 0) {
		return true;
	}
	return is_cycle_counter(reg) ? sysreg(machine, PMUSERENR_EL0) & PMUSERENR_EN_CR
				     : sysreg(machine, CNTKCTL_EL1) & el0_permit(reg);
}

static uint8_t *timer_control(struct machine *machine, const uc_arm64_cp_reg *reg)
{
	return &machine->core.timer_control[reg->op1 == 3 ? reg->crm - 2 : reg->op1 == 4 ? 2 : 3];
}

static uint64_t timer_value(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now)
{
	uint64_t compare = core_read_sysreg(machine, 3, reg->op1, 14, reg->crm, CVAL);
	uint64_t control = *timer_control(machine, reg);

	if (reg->op2 == TVAL) {
		return (uint32_t)(compare - now);
	}
	return control | (control & CTL_ENABLE && now >= compare ? CTL_DUE : 0);
}

bool time_read(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t *value)
{
	bool timer = is_timer(reg) && reg->op2 != CVAL;

	if (reg->op0 != 3 || !(is_counter(reg) || timer || is_cycle_counter(reg)) || !is_permitted(machine, reg)) {
		return false;
	}
	*value = timer ? timer_value(machine, reg, now) : now;
	return true;
}

bool time_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t value)
{
	if (reg->op0 != 3 || !is_timer(reg) || reg->op2 == CVAL || !is_permitted(machine, reg)) {
		return false;
	}
	if (reg->op2 == TVAL) {
		core_write_sysreg(machine, 3, reg->op1, 14, reg->crm, CVAL, now + (uint64_t)(int64_t)(int32_t)value);
	} else {
		*timer_control(machine, reg) = value & (CTL_ENABLE | CTL_MASKED);
	}
	return true;
}
