/*
 * Guest time as the guest reads it: counters, timers and the cycle counter (Arm ARM D11, D13). The engine would take all
 * of them from the host's clock. A tick of the counter is an executed instruction. The timers' outputs are level-sensitive
 * private interrupts of the GIC.
 */
#include "core.h"

#define CNTHCTL_EL1PCTEN (1 << 0)
#define CNTHCTL_EL1PCEN (1 << 1)
#define CNTKCTL_EL0PTEN (1 << 9)
#define CNTKCTL_EL0VTEN (1 << 8)
#define PMUSERENR_EN_CR 5
#define SCR_NS (1 << 0)
#define SCR_ST (1 << 11)

#define CTL_ENABLE 1
#define CTL_MASKED 2
#define CTL_DUE 4

enum timer_register { TVAL, CTL, CVAL };
enum timer_number { TIMER_PHYSICAL, TIMER_VIRTUAL, TIMER_HYPERVISOR, TIMER_SECURE };

static const unsigned private_interrupt[TIMERS] = {30, 27, 26, 29}; /* as on QEMU's virt, and by the BSA */

static bool is_counter(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 3 && reg->crn == 14 && reg->crm == 0 && (reg->op2 == 1 || reg->op2 == 2);
}

static bool is_offset(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 4 && reg->crn == 14 && reg->crm == 0 && reg->op2 == 3;
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

static enum timer_number timer_number(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 4 ? TIMER_HYPERVISOR : reg->op1 == 7 ? TIMER_SECURE : reg->crm == 3 ? TIMER_VIRTUAL : TIMER_PHYSICAL;
}

/* What EL0 needs set in CNTKCTL_EL1. */
static uint64_t el0_permit(const uc_arm64_cp_reg *reg)
{
	return is_counter(reg) ? reg->op2 : reg->crm == 2 ? CNTKCTL_EL0PTEN : CNTKCTL_EL0VTEN;
}

/*
 * Whether EL2 lets EL1 and EL0 reach the physical counter or timer. The engine and QEMU look at EL1PCEN where EL0 reads the
 * counter; it is the engine that takes the trap, so they decide.
 */
static bool el2_permits(struct machine *machine, const uc_arm64_cp_reg *reg, unsigned level)
{
	bool physical = is_counter(reg) ? reg->op2 == 1 : is_timer(reg) && reg->crm == 2;
	uint64_t needed = is_counter(reg) && level == 1 ? CNTHCTL_EL1PCTEN : CNTHCTL_EL1PCEN;

	return !physical || !(core_translation_registers(machine)->scr_el3 & SCR_NS) ||
	       sysreg(machine, CNTHCTL_EL2) & needed;
}

/* Where it is not permitted the engine finds the instruction undefined or trapped, without our help. */
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
	if (is_cycle_counter(reg)) {
		return (level > 0 || sysreg(machine, PMUSERENR_EL0) & PMUSERENR_EN_CR) && !pmu_hypervisor_trap(machine);
	}
	return level >= 2 ||
	       ((level == 1 || sysreg(machine, CNTKCTL_EL1) & el0_permit(reg)) && el2_permits(machine, reg, level));
}

/* --- the timers ----------------------------------------------------------------------------------------------------- */

/* What the timer compares with: CNTPCT or CNTVCT. */
static uint64_t timer_count(const struct core *core, enum timer_number number, uint64_t now)
{
	return number == TIMER_VIRTUAL ? now - core->virtual_offset : now;
}

static bool timer_due(const struct core *core, enum timer_number number, uint64_t now)
{
	const struct timer *timer = &core->timer[number];

	return timer->control & CTL_ENABLE && timer_count(core, number, now) >= timer->compare;
}

void timers_update(struct machine *machine, uint64_t now)
{
	struct core *core = &machine->core;

	core->timers_due = UINT64_MAX;
	if (!machine->gic.present) {
		return; /* the outputs lead nowhere */
	}
	for (unsigned i = 0; i < TIMERS; i++) {
		const struct timer *timer = &core->timer[i];
		bool due = timer_due(core, i, now);
		bool watched = (timer->control & (CTL_ENABLE | CTL_MASKED)) == CTL_ENABLE;
		uint64_t wait = timer->compare - timer_count(core, i, now);

		gic_set_level(machine, private_interrupt[i], watched && due);
		if (watched && !due && wait < core->timers_due - now) {
			core->timers_due = now + wait;
		}
	}
	if (core->timers_due < core->limit) {
		core->limit = core->timers_due;
		core_call_attention(machine);
	}
}

static uint64_t timer_value(const struct core *core, const uc_arm64_cp_reg *reg, uint64_t now)
{
	enum timer_number number = timer_number(reg);
	const struct timer *timer = &core->timer[number];

	switch (reg->op2) {
	case TVAL:
		return (uint32_t)(timer->compare - timer_count(core, number, now));
	case CTL:
		return timer->control | (timer_due(core, number, now) ? CTL_DUE : 0);
	default:
		return timer->compare;
	}
}

bool time_peek(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t *value)
{
	const struct core *core = &machine->core;

	if (reg->op0 != 3) {
		return false;
	}
	if (is_timer(reg)) {
		*value = timer_value(core, reg, now);
	} else if (is_offset(reg)) {
		*value = core->virtual_offset;
	} else if (is_counter(reg)) {
		*value = reg->op2 == 2 ? now - core->virtual_offset : now;
	} else if (is_cycle_counter(reg)) {
		*value = now;
	} else {
		return false;
	}
	return true;
}

bool time_poke(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t value)
{
	struct core *core = &machine->core;

	if (reg->op0 != 3 || !(is_timer(reg) || is_offset(reg))) {
		return false;
	}
	if (is_offset(reg)) {
		core->virtual_offset = value;
	} else {
		struct timer *timer = &core->timer[timer_number(reg)];

		if (reg->op2 == CTL) {
			timer->control = value & (CTL_ENABLE | CTL_MASKED);
		} else if (reg->op2 == CVAL) {
			timer->compare = value;
		} else {
			timer->compare = timer_count(core, timer_number(reg), now) + (uint64_t)(int64_t)(int32_t)value;
		}
	}
	timers_update(machine, now);
	return true;
}

bool time_read(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t *value)
{
	return time_peek(machine, reg, now, value) && is_permitted(machine, reg);
}

bool time_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t value)
{
	bool ours = reg->op0 == 3 && (is_timer(reg) || is_offset(reg));

	return ours && is_permitted(machine, reg) && time_poke(machine, reg, now, value);
}
