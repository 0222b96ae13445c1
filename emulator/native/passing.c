/*
 * Code that only passes time. Kernels spend it in blocks of NOPs, in loops that count a register down, and in WFI, and
 * devices are due in the middle of those: the engine would translate a block anew for each stop inside it. So they are
 * performed here, one by one, and the turns of a loop that counts down all at once.
 */
#include "core.h"

#define NOP UINT32_C(0xd503201f)
#define WFI UINT32_C(0xd503207f)

#define PSTATE_N (UINT64_C(1) << 31)
#define PSTATE_Z (UINT64_C(1) << 30)
#define PSTATE_C (UINT64_C(1) << 29)
#define PSTATE_V (UINT64_C(1) << 28)
#define PSTATE_FLAGS (PSTATE_N | PSTATE_Z | PSTATE_C | PSTATE_V)

#define AT_ONCE (1 << 20) /* instructions: a loop without an end leaves room for an interrupt of the host's */

#define SCR_TWI (1 << 12)
#define HCR_TWI (1 << 13)
#define MDSCR_SS (1 << 0)
#define MDSCR_MDE (1 << 15)

struct passing {
	struct machine *machine;
	const uint32_t *page; /* of code, which is where `pc` is */
	uint64_t pc;
	uint64_t pstate;
	uint64_t left; /* instructions that may be executed */
};

static uint32_t instruction_at(const struct passing *passing, uint64_t pc)
{
	return passing->page[(pc & ~PAGE_MASK) / 4];
}

static void go_to(struct passing *passing, uint64_t pc, uint64_t executed)
{
	passing->pc = pc;
	passing->left -= executed;
}

/* SUBS Xn, Xn, #1 */
static bool is_countdown(uint32_t instruction)
{
	return (instruction & 0xfffffc00) == 0xf1000400 && (instruction & 31) == (instruction >> 5 & 31) &&
	       (instruction & 31) != 31;
}

static void count_down(struct passing *passing, unsigned number, uint64_t steps)
{
	uint64_t value = core_read_register(passing->machine, number) - steps;

	core_write_register(passing->machine, number, value);
	passing->pstate = (passing->pstate & ~PSTATE_FLAGS) | (value >> 63 ? PSTATE_N : 0) | (value ? 0 : PSTATE_Z) |
			  (value != UINT64_MAX ? PSTATE_C : 0) | (value == INT64_MAX ? PSTATE_V : 0);
}

/* Where an instruction with a 19-bit offset branches to: B.cond, CBZ. */
static uint64_t branch_target(uint32_t instruction, uint64_t pc)
{
	return pc + (uint64_t)((int64_t)((uint64_t)instruction << 40) >> 45) * 4;
}

/* B.NE is taken back to `start`: if nothing but NOPs and one countdown lies in between, all turns that fit are taken. */
static void take_turns(struct passing *passing, uint64_t start)
{
	const uint64_t last = passing->pc - 4;
	const uint64_t length = (passing->pc - start) / 4 + 1;
	const uint32_t countdown = instruction_at(passing, last);
	uint64_t turns = passing->left / length;
	uint64_t counted;

	if (start > last || (start ^ passing->pc) & PAGE_MASK || !is_countdown(countdown)) {
		return;
	}
	for (uint64_t pc = start; pc < last; pc += 4) {
		if (instruction_at(passing, pc) != NOP) {
			return;
		}
	}
	counted = core_read_register(passing->machine, countdown & 31);
	turns = turns < counted ? turns : counted;
	if (turns) {
		count_down(passing, countdown & 31, turns);
		passing->left -= turns * length;
	}
}

static void branch_if_not_equal(struct passing *passing, uint32_t instruction)
{
	const uint64_t target = branch_target(instruction, passing->pc);

	if (!(passing->pstate & PSTATE_Z)) {
		take_turns(passing, target);
	}
	if (passing->left) {
		go_to(passing, passing->pstate & PSTATE_Z ? passing->pc + 4 : target, 1);
	}
}

static bool waits_here(struct machine *machine)
{
	const struct translation_registers *registers = core_translation_registers(machine);

	return current_level(machine) && !(registers->scr_el3 & SCR_TWI) && !(registers->hcr_el2 & HCR_TWI);
}

/* False: the next instruction is not one of those, or may trap. */
static bool pass(struct passing *passing, bool *waiting)
{
	const uint32_t instruction = instruction_at(passing, passing->pc);

	if (instruction == NOP) {
		go_to(passing, passing->pc + 4, 1);
	} else if (is_countdown(instruction)) {
		count_down(passing, instruction & 31, 1);
		go_to(passing, passing->pc + 4, 1);
	} else if ((instruction & 0xff00001f) == 0x54000001) { /* B.NE */
		branch_if_not_equal(passing, instruction);
	} else if ((instruction & 0xff000000) == 0xb4000000 && (instruction & 31) != 31) { /* CBZ Xn */
		bool taken = core_read_register(passing->machine, instruction & 31) == 0;

		go_to(passing, taken ? branch_target(instruction, passing->pc) : passing->pc + 4, 1);
	} else if (instruction >> 26 == 5) { /* B */
		go_to(passing, passing->pc + (uint64_t)((int64_t)((uint64_t)instruction << 38) >> 38) * 4, 1);
	} else if (instruction == WFI && waits_here(passing->machine)) {
		go_to(passing, passing->pc + 4, 1);
		*waiting = true;
	} else {
		return false;
	}
	return true;
}

/* Nothing is told of a walk that fails: the engine fetches, too, and has it told then. */
static const uint8_t *fetch_untold(struct machine *machine, uint64_t pc, unsigned level)
{
	const uint64_t kinds = machine->event_kinds;
	const struct tzasc_failure failure = machine->tzasc.failure;
	const uint8_t *page;

	machine->event_kinds = 0;
	page = core_code_page(machine, pc & PAGE_MASK, level);
	machine->event_kinds = kinds;
	if (!page) {
		machine->tzasc.failure = failure;
	}
	return page;
}

/* Code at `pc`; NULL: it cannot be fetched, which is the engine's to find out. */
static const uint32_t *page_of_code(struct machine *machine, uint64_t pc)
{
	const unsigned level = current_level(machine);
	const uint8_t *page = fetch_untold(machine, pc, level);
	const struct master master = {
		.secure = !machine->core.fetched.non_secure,
		.privileged = level > 0,
	};

	return page && bus_permits(machine, machine->core.fetched.physical, master, false) ? (const uint32_t *)(const void *)page
											  : NULL;
}

/* Software steps and breakpoints of the guest's own, which are the engine's to take. */
static bool guest_debugs(struct machine *machine)
{
	return core_translation_registers(machine)->mdscr_el1 & (MDSCR_SS | MDSCR_MDE);
}

enum passed core_pass_time(struct machine *machine)
{
	struct core *core = &machine->core;
	const uint64_t first = core_read_register(machine, REGISTER_PC);
	const uint64_t room = core->limit - core->instructions;
	const uint64_t count = room < AT_ONCE ? room : AT_ONCE;
	struct passing passing = {.machine = machine, .pc = first, .left = count};
	bool waiting = false;
	uint64_t pstate;

	if (core_code_is_hooked() || core->in_call || guest_debugs(machine) || first & 3 ||
	    !(passing.page = page_of_code(machine, first))) {
		return PASSED_NOTHING;
	}
	pstate = passing.pstate = core_read_register(machine, REGISTER_PSTATE);
	while (passing.left && !waiting && !((passing.pc ^ first) & PAGE_MASK) && pass(&passing, &waiting)) {
	}
	if (passing.left == count) {
		return PASSED_NOTHING;
	}
	core->instructions += count - passing.left;
	core_write_register(machine, REGISTER_PC, passing.pc);
	if (passing.pstate != pstate) {
		core_write_register(machine, REGISTER_PSTATE, passing.pstate);
	}
	return waiting ? PASSED_TO_WAIT : PASSED_SOME;
}
