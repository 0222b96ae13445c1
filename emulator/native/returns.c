/*
 * Illegal exception returns (Arm ARM D1.11.4). The engine's ERET finds them and sets PSTATE.IL, but executes on; and
 * nothing tells us of an ERET. So an MSR notes which level's SPSR could do it as things stand, and only while one could,
 * the block hook looks at PSTATE. Returns to AArch32, which our core has at no level, the engine would perform: they are
 * caught before.
 */
#include "core.h"

#define SPSR_IL (UINT64_C(1) << 20)
#define SPSR_AARCH32 (1 << 4)
#define MODE 0x1f
#define RESTORED UINT64_C(0xf00003c0) /* NZCV, DAIF */
#define SCR_NS (1 << 0)
#define SCR_RW (1 << 10)
#define HCR_RW (UINT64_C(1) << 31)
#define HCR_TGE (1 << 27)

#define IS_SPSR(reg) ((reg)->crn == 4 && (reg)->crm == 0 && (reg)->op2 == 0)
#define IS_SCR(reg) ((reg)->op1 == 6 && (reg)->crn == 1 && (reg)->crm == 1 && (reg)->op2 == 0)
#define IS_HCR(reg) ((reg)->op1 == 4 && (reg)->crn == 1 && (reg)->crm == 1 && (reg)->op2 == 0)

static uint64_t read_spsr(struct machine *machine, unsigned level)
{
	return level == 1 ? sysreg(machine, SPSR_EL1) : level == 2 ? sysreg(machine, SPSR_EL2) : sysreg(machine, SPSR_EL3);
}

/* May be wrong about what is legal, never about what is not. */
static bool is_doubtful(unsigned level, uint64_t spsr, uint64_t scr, uint64_t hcr)
{
	unsigned to = spsr >> 2 & 3;
	bool normal = scr & SCR_NS;

	if (spsr & (SPSR_IL | SPSR_AARCH32 | 2) || (spsr & MODE) == 1 || to > level) {
		return true; /* no such mode, or IL itself is restored */
	}
	if (to == 3) {
		return false;
	}
	return !(scr & SCR_RW) || (to == 2 && !normal) || (to == 1 && normal && (!(hcr & HCR_RW) || hcr & HCR_TGE));
}

static void judge(struct machine *machine, unsigned level, uint64_t spsr, uint64_t scr, uint64_t hcr)
{
	unsigned bit = 1u << level;

	machine->core.doubtful_returns &= ~bit;
	if (is_doubtful(level, spsr, scr, hcr)) {
		machine->core.doubtful_returns |= bit;
		core_call_attention(machine);
	}
}

/* EL1 returns to itself and EL0 only: what these two registers say matters to EL2 and EL3. */
static void judge_again(struct machine *machine, uint64_t scr, uint64_t hcr)
{
	for (unsigned level = 2; level <= 3; level++) {
		judge(machine, level, read_spsr(machine, level), scr, hcr);
	}
}

static unsigned owner_of(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 6 ? 3 : reg->op1 == 4 ? 2 : 1;
}

bool returns_depend_on(const uc_arm64_cp_reg *reg)
{
	return reg->op0 == 3 && ((IS_SPSR(reg) && (reg->op1 == 0 || reg->op1 == 4 || reg->op1 == 6)) || IS_SCR(reg) || IS_HCR(reg));
}

bool returns_permitted(struct machine *machine, const uc_arm64_cp_reg *reg)
{
	return current_level(machine) >= owner_of(reg);
}

void returns_on_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t value)
{
	bool doubtful = machine->core.doubtful_returns;
	if (IS_SPSR(reg)) {
		if (!machine->core.was_below_el3) {
			machine->core.was_below_el3 = true;
			float_traps_forget(&machine->core);
			core_call_attention(machine);
		}
		judge(machine, owner_of(reg), value, sysreg(machine, SCR_EL3),
		      sysreg(machine, HCR_EL2));
	} else if (IS_SCR(reg) && (doubtful || (value & (SCR_NS | SCR_RW)) != (SCR_NS | SCR_RW))) {
		judge_again(machine, value, sysreg(machine, HCR_EL2));
	} else if (IS_HCR(reg) && (doubtful || (value & (HCR_RW | HCR_TGE)) != HCR_RW)) {
		judge_again(machine, sysreg(machine, SCR_EL3), value);
	}
}

bool returns_to_aarch32(struct machine *machine, uint64_t start, uint64_t bytes)
{
	unsigned level = current_level(machine);
	uint32_t instruction;

	if (level == 0 || !(machine->core.doubtful_returns >> level & 1) ||
	    !read_instruction(machine, start + bytes - 4, level, &instruction) || instruction != ERET ||
	    !(read_spsr(machine, level) & SPSR_AARCH32)) {
		return false;
	}
	machine->core.caught_at = start + bytes - 4;
	return true;
}

bool returns_caught(struct machine *machine)
{
	uint32_t instruction;

	return read_instruction(machine, machine->core.caught_at, current_level(machine), &instruction) && instruction == ERET;
}

/* EL and SP stay, flags and masks are restored, and the next instruction finds IL set. */
void returns_refuse(struct machine *machine)
{
	unsigned level = current_level(machine);
	uint64_t spsr = read_spsr(machine, level);
	uint64_t pstate = core_read_register(machine, REGISTER_PSTATE) & ~RESTORED;
	uint64_t target = level == 1 ? sysreg(machine, ELR_EL1) : level == 2 ? sysreg(machine, ELR_EL2) : sysreg(machine, ELR_EL3);

	machine->core.caught_at = 0;
	machine->core.instructions++;
	core_write_register(machine, REGISTER_PSTATE, pstate | (spsr & RESTORED) | SPSR_IL);
	set_sysreg(machine, SCR_EL3, sysreg(machine, SCR_EL3)); /* makes the engine look at PSTATE */
	core_write_register(machine, REGISTER_PC, target & ~UINT64_C(3));
}

bool returns_was_illegal(struct machine *machine)
{
	return machine->core.doubtful_returns && core_read_register(machine, REGISTER_PSTATE) & SPSR_IL;
}
