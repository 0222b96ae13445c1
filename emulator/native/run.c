/* The run loop between the engine's hooks, and exact guest time. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "core.h"

static struct sigaction previous_interrupt;

volatile sig_atomic_t core_interrupted;
static struct machine *volatile running; /* for the signal handler */

void core_reset(struct machine *machine, uint64_t entry)
{
	uint32_t pstate = 0x3cd; /* EL3h, DAIF masked */

	uc_reg_write(machine->core.engine, UC_ARM64_REG_PSTATE, &pstate);
	/* The engine resets SCR_EL3.RW and HCR_EL2.RW to AArch32; this board's cores are AArch64 at every level. */
	set_sysreg(machine, HCR_EL2, UINT64_C(1) << 31);
	set_sysreg(machine, SCR_EL3, 1 << 10 | 0x30);
	core_write_register(machine, REGISTER_PC, entry);
	machine->core.halted = false;
	machine->core.was_below_el3 = false;
	machine->core.float_traps = FLOAT_TRAPS_UNKNOWN;
	memset(machine->core.timer, 0, sizeof machine->core.timer);
	machine->core.virtual_offset = 0;
	timers_update(machine, machine->core.instructions);
}

bool core_init(struct machine *machine)
{
	struct core *core = &machine->core;

	core->trap.status = FSC_NONE;
	machine->debug.leaving = DEBUG_NOWHERE;
	core->timers_due = UINT64_MAX;
	if (uc_open(UC_ARCH_ARM64, UC_MODE_ARM, &core->engine) != UC_ERR_OK) {
		return false;
	}
	return uc_ctl_set_cpu_model(core->engine, UC_CPU_ARM64_A72) == UC_ERR_OK &&
	       uc_ctl_set_page_size(core->engine, PAGE_SIZE) == UC_ERR_OK &&
	       uc_ctl_exits_enable(core->engine) == UC_ERR_OK && /* else the engine stops at an address of its own */
	       uc_ctl_tlb_mode(core->engine, UC_TLB_VIRTUAL) == UC_ERR_OK &&
	       uc_mem_map_ptr(core->engine, machine->sram.base, machine->sram.bytes, UC_PROT_ALL, machine->sram.host) ==
		       UC_ERR_OK &&
	       uc_mem_map_ptr(core->engine, machine->dram.base, machine->dram.bytes, UC_PROT_ALL, machine->dram.host) ==
		       UC_ERR_OK &&
	       engine_exception_init(core) && core_add_hooks(machine);
}

uint64_t core_instructions(struct machine *machine)
{
	return machine->core.instructions;
}

void core_advance(struct machine *machine, uint64_t instruction)
{
	if (instruction > machine->core.instructions) {
		machine->core.instructions = instruction;
	}
	dma_advance(machine); /* so that whoever waits sees at once what is due then, and be it in this very instant */
	npu_advance(machine);
}

uint64_t core_next_event(struct machine *machine)
{
	uint64_t dma = dma_next_due(machine);
	uint64_t npu = npu_next_due(machine);
	uint64_t due = dma < npu ? dma : npu;

	return due < machine->core.timers_due ? due : machine->core.timers_due;
}

bool core_wait_for_npu(struct machine *machine)
{
	bool waited = false;

	while (npu_next_due(machine) != UINT64_MAX && !interrupt_pending(machine)) {
		core_advance(machine, core_next_event(machine));
		timers_update(machine, machine->core.instructions);
		waited = true;
	}
	return waited;
}

uint64_t core_time_at(const struct machine *machine, uint64_t pc)
{
	const struct core *core = &machine->core;

	return core->instructions - (core->block_bytes - (pc - core->block_start)) / 4;
}

void core_uncount_rest_of_block(struct core *core, uint64_t pc)
{
	uint64_t done = pc - core->block_start;

	if (done < core->block_bytes) {
		core->instructions -= (core->block_bytes - done) / 4;
		core->block_bytes = done;
	}
}

/*
 * Where a load or store that touches the refused page meets it: at its address, or where it enters the page. The engine
 * names the page without a tag.
 */
static uint64_t fault_address(const struct load_store *access, uint64_t page)
{
	bool begins_there = !((access->far ^ page) << 8 >> (8 + PAGE_SHIFT));

	return begins_there ? access->far : page;
}

/* An access that the engine cannot perform and we do not: the bus is asked for its verdict, exactly where it happens. */
static void take_bus_error(struct machine *machine, enum access access, uint64_t address)
{
	struct fault fault = {.status = FSC_EXTERNAL};
	struct translation translation;
	struct target target;
	struct fault unused;

	if (translate(machine, address, access, current_level(machine), &translation, &unused)) {
		struct master master = {.secure = !translation.non_secure, .privileged = current_level(machine) > 0};
		enum bus_result result = bus_check(machine, translation.address, master, access == ACCESS_WRITE, &target);

		if (result == BUS_IGNORED && access == ACCESS_FETCH) {
			exception_undefined(machine); /* zeros were fetched, and zeros are UDF */
			return;
		}
	}
	exception_abort(machine, &fault, access, address);
}

static void resolve_refusal(struct machine *machine)
{
	struct refusal refusal = machine->core.refusal;
	uint64_t pc = core_read_register(machine, REGISTER_PC);
	struct load_store access;
	uint32_t instruction;
	uint64_t address = refusal.access == ACCESS_FETCH ? pc : refusal.page;
	bool decoded = refusal.access != ACCESS_FETCH && read_instruction(machine, pc, current_level(machine), &instruction) &&
		       load_store_decode(machine, instruction, pc, &access);

	if (decoded) {
		address = fault_address(&access, refusal.page);
		refusal.fault.transfer = load_store_syndrome(&access);
	}
	if (machine->debug.refused) {
		debug_watched_instruction(machine, decoded ? &access : NULL);
	} else if (refusal.fault.status != FSC_NONE) {
		exception_abort(machine, &refusal.fault, refusal.access, address);
	} else if (decoded && access.elements > 0) {
		load_store_perform(machine, &access, pc);
	} else {
		take_bus_error(machine, refusal.access, address);
	}
}

static void resolve_trap(struct machine *machine)
{
	struct core *core = &machine->core;
	struct fault fault = core->trap;

	core->trap.status = FSC_NONE;
	core->instructions--;
	core_write_register(machine, REGISTER_PC, core_read_register(machine, REGISTER_PC) - 4);
	exception_abort_cache(machine, &fault, core->trap_address);
}

static uc_err enter(struct machine *machine)
{
	struct core *core = &machine->core;

	core->held = false;
	core->caught_at = 0;
	core->float_level = LEVEL_UNKNOWN;
	core_call_attention(machine); /* the block hook finds out whether anything asks for it */
	core->block_bytes = 0;
	core->refusal.pending = false;
	machine->debug.refused = false;
	return uc_emu_start(core->engine, core_read_register(machine, REGISTER_PC), 0, 0, 0);
}

static void on_end_of_part(uc_engine *engine, uint64_t address, uint32_t size, void *user)
{
	(void)address;
	(void)size;
	(void)user;
	uc_emu_stop(engine); /* the instruction is not executed */
}

#define INSTRUCTION_BYTES 4

/*
 * The next block would pass the limit: it is translated again with a hook that stops the engine inside it. (The engine's
 * own exits are no way to stop at an instruction: they are taken as a WFI, which may be trapped.)
 */
static uc_err enter_part_of_block(struct machine *machine, uint64_t instructions)
{
	struct core *core = &machine->core;
	uint64_t start = core_read_register(machine, REGISTER_PC);
	uint64_t end = start + instructions * INSTRUCTION_BYTES;
	struct translation place;
	struct fault unused;
	uc_hook hook;
	uc_err error;

	if (!translate(machine, end, ACCESS_FETCH, current_level(machine), &place, &unused)) {
		return enter(machine); /* takes the abort */
	}
	core_forget_code(machine, place.address, INSTRUCTION_BYTES);
	if (!core_hook_code(machine, end, end, on_end_of_part, machine, &hook)) {
		return UC_ERR_NOMEM;
	}
	core->part_bytes = instructions * INSTRUCTION_BYTES;
	error = enter(machine);
	core->part_bytes = 0;
	core_unhook_code(machine, hook);
	core_forget_code(machine, place.address, INSTRUCTION_BYTES);
	return error;
}

static bool pass_time(struct machine *machine)
{
	enum passed passed = core_pass_time(machine);

	machine->core.held = passed == PASSED_SOME;
	return passed != PASSED_NOTHING;
}

/* Up to the limit, to the exact instruction. */
static uc_err run_engine(struct machine *machine)
{
	struct core *core = &machine->core;
	uc_err error;
	uint64_t pc;

	if (pass_time(machine)) {
		return UC_ERR_OK;
	}
	error = enter(machine);
	pc = core_read_register(machine, REGISTER_PC);
	if (error == UC_ERR_OK && core->held && !(pc & 3) && !core_must_stop(machine) && core->instructions < core->limit) {
		uint64_t caught_at = core->caught_at;
		uint64_t count = core->limit - core->instructions;

		if (caught_at && (caught_at - pc) / 4 < count) {
			count = (caught_at - pc) / 4;
		}
		if (count && !pass_time(machine)) {
			error = enter_part_of_block(machine, count);
		}
		core->caught_at = caught_at;
	}
	return error;
}

void core_enable_semihosting(struct machine *machine)
{
	machine->core.semihosting = true;
}

void core_semihosting_called(struct machine *machine, uint64_t pc)
{
	machine->core.semihosting_called = true;
	machine->core.instructions++;
	core_write_register(machine, REGISTER_PC, pc + 4);
	uc_emu_stop(machine->core.engine);
}

/* What is set to stop the run has stopped it. */
static bool stopped_for_debugger(struct machine *machine, const struct position *begun, enum stop_reason *reason)
{
	struct debug *debug = &machine->debug;
	struct position now;

	if (debug->at_event) {
		debug->at_event = false;
		*reason = STOP_AT_EVENT;
		return true;
	}
	if (debug->accessed) {
		debug->accessed = false;
		*reason = STOP_WATCHPOINT;
		return true;
	}
	if (debug->at_breakpoint) {
		debug->at_breakpoint = false;
		*reason = STOP_BREAKPOINT;
		return true;
	}
	debug_position(machine, &now);
	*reason = STOP_STEP;
	return debug->step && (now.instructions != begun->instructions || now.entries != begun->entries);
}

static enum stop_reason after_engine(struct machine *machine, uc_err error, bool *stop)
{
	struct core *core = &machine->core;
	uint64_t pc = core_read_register(machine, REGISTER_PC);

	*stop = true;
	if (core->lost) {
		return STOP_LOST;
	}
	if (core->semihosting_called) {
		core->semihosting_called = false;
		return STOP_SEMIHOSTING;
	}
	if (pc & 3) {
		exception_pc_alignment(machine, pc);
	} else if (error == UC_ERR_EXCEPTION && core->refusal.pending) {
		if (core->refusal.access != ACCESS_FETCH) { /* a fetch is refused between blocks */
			core_uncount_rest_of_block(core, pc);
		}
		resolve_refusal(machine);
	} else if (core->trap.status != FSC_NONE) {
		core_uncount_rest_of_block(core, pc);
		resolve_trap(machine);
	} else if (error != UC_ERR_OK) {
		snprintf(machine->error, sizeof machine->error, "the engine stopped at %#llx: %s", (unsigned long long)pc,
			 uc_strerror(error));
		return STOP_LOST;
	} else if (machine->debug.at_event && !core->held) {
		core_uncount_rest_of_block(core, pc);
	} else if (!machine->debug.at_breakpoint && !core->held && is_wfi(machine, pc - 4)) {
		if (core->timers_due <= core->instructions) {
			timers_update(machine, core->instructions);
		}
		if (!interrupt_pending(machine) || is_parked(machine, pc)) {
			return STOP_WFI;
		}
	}
	*stop = exception_stuck(machine);
	return STOP_LOST;
}

static void on_sigint(int number)
{
	core_interrupted = 1;
	core_call_attention(running);
	if (previous_interrupt.sa_handler != SIG_DFL) {
		previous_interrupt.sa_handler(number);
	}
}

/* The one instruction whose access to a watched page was refused. */
static enum stop_reason run_watched_instruction(struct machine *machine, bool *stop)
{
	uint64_t before = machine->core.instructions;
	enum stop_reason reason;

	machine->core.limit = before + 1;
	machine->debug.permitting = true;
	reason = after_engine(machine, run_engine(machine), stop);
	machine->debug.permitting = false;
	core_flush(machine);
	debug_watched_instruction_ran(machine, machine->core.instructions > before);
	return reason;
}

static enum stop_reason run(struct machine *machine, uint64_t limit)
{
	struct core *core = &machine->core;
	struct position begun;

	debug_position(machine, &begun);
	for (;;) {
		uint64_t due = core_next_event(machine);
		enum stop_reason reason;
		bool stop;

		if (machine->callback_failed) {
			machine->callback_failed = false;
			return STOP_CALLBACK;
		}
		if (core->halted) {
			return STOP_HALTED;
		}
		if (core_interrupted) {
			return STOP_INTERRUPTED;
		}
		if (stopped_for_debugger(machine, &begun, &reason)) {
			return reason;
		}
		if (events_full(machine)) {
			return STOP_EVENTS;
		}
		if (due <= core->instructions) {
			dma_advance(machine);
			npu_advance(machine);
			timers_update(machine, core->instructions);
			continue;
		}
		if (core->instructions >= limit) {
			return STOP_BUDGET;
		}
		if (core->serror_pending && exception_serror(machine)) {
			continue;
		}
		if (interrupt_take(machine)) {
			continue; /* at its vector another may be due */
		}
		if (returns_was_illegal(machine)) {
			exception_illegal_state(machine);
			continue;
		}
		if (core->caught_at && core->caught_at == core_read_register(machine, REGISTER_PC)) {
			if (returns_caught(machine)) {
				returns_refuse(machine);
			} else {
				float_trap_take(machine);
			}
			continue;
		}
		core->limit = due < limit ? due : limit;
		if (machine->debug.step && core->instructions + 1 < core->limit) {
			core->limit = core->instructions + 1;
		}
		if (machine->debug.alone) {
			reason = run_watched_instruction(machine, &stop);
		} else {
			reason = after_engine(machine, run_engine(machine), &stop);
		}
		if (stop) {
			return reason;
		}
	}
}

enum stop_reason core_run(struct machine *machine, uint64_t instruction_limit)
{
	struct sigaction action = {.sa_handler = on_sigint};
	enum stop_reason reason;

	core_interrupted = 0;
	running = machine;
	machine->core.lost = false;
	machine->core.stuck = 0;
	machine->core.caught_at = 0; /* the block hook finds it again: registers may be others now */
	debug_begin(machine);
	sigaction(SIGINT, &action, &previous_interrupt);
	if (previous_interrupt.sa_handler == SIG_IGN) {
		sigaction(SIGINT, &previous_interrupt, NULL); /* who started us wants it so */
	}
	reason = run(machine, instruction_limit);
	sigaction(SIGINT, &previous_interrupt, NULL);
	return reason;
}
