/*
 * Stops for a debugger.
 *
 * A watched page never enters the engine's TLB, so every access to it is refused by the fill hook. The instruction is
 * then run alone with its fills permitted, and afterwards the engine forgets the page again: it executes as it would
 * have, whatever kind of instruction it is, and only what it accesses is decoded, to see whether it meets a watchpoint.
 */
#include "core.h"

void debug_position(struct machine *machine, struct position *position)
{
	const struct debug *debug = &machine->debug;

	position->instructions = machine->core.instructions;
	position->entries = debug->entries_at == position->instructions ? debug->entries : 0;
}

/* What the last run had found out about the next instruction: it is found again. */
void debug_begin(struct machine *machine)
{
	machine->debug.alone = machine->debug.meets = false;
}

void debug_restored(struct machine *machine)
{
	struct debug *debug = &machine->debug;

	debug_begin(machine);
	debug->leaving = DEBUG_NOWHERE;
	debug->at_breakpoint = debug->at_event = debug->accessed = false;
}

void debug_exception(struct machine *machine)
{
	struct debug *debug = &machine->debug;

	if (debug->entries_at != machine->core.instructions) {
		debug->entries_at = machine->core.instructions;
		debug->entries = 0;
	}
	debug->entries++;
	debug->leaving = DEBUG_NOWHERE;
	debug->alone = debug->meets = false;
	if (debug->step || debug->permitting) {
		machine->core.limit = machine->core.instructions; /* nothing of the handler is executed */
		core_call_attention(machine);
	}
}

void debug_step(struct machine *machine, bool on)
{
	machine->debug.step = on;
}

/* --- breakpoints ---------------------------------------------------------------------------------------------- */

static void on_breakpoint(uc_engine *engine, uint64_t address, uint32_t size, void *user)
{
	struct machine *machine = user;
	struct debug *debug = &machine->debug;

	(void)size;
	if (debug->leaving == address) {
		debug->leaving = DEBUG_NOWHERE;
		return;
	}
	debug->at_breakpoint = true;
	core_uncount_rest_of_block(&machine->core, address);
	uc_emu_stop(engine); /* the instruction is not executed */
}

void debug_leave(struct machine *machine)
{
	machine->debug.leaving = core_read_register(machine, REGISTER_PC);
}

bool debug_break(struct machine *machine, uint64_t address)
{
	struct debug *debug = &machine->debug;

	if (debug->breakpoints == MAX_BREAKPOINTS ||
	    !core_hook_code(machine, address, address, on_breakpoint, machine, &debug->breakpoint[debug->breakpoints])) {
		return false;
	}
	debug->breakpoints++;
	core_forget_all_code(machine);
	return true;
}

/* --- watchpoints ---------------------------------------------------------------------------------------------- */

bool debug_watch(struct machine *machine, uint64_t address, uint64_t bytes, bool read, bool write, bool physical)
{
	struct debug *debug = &machine->debug;

	if (debug->watchpoints == MAX_WATCHPOINTS || bytes == 0 || address + bytes - 1 < address) {
		return false;
	}
	debug->watchpoint[debug->watchpoints++] = (struct watchpoint){address, bytes, read, write, physical};
	core_flush(machine);
	return true;
}

static bool overlap(const struct watchpoint *watch, uint64_t address, uint64_t bytes)
{
	return address <= watch->address + watch->bytes - 1 && watch->address <= address + bytes - 1;
}

bool debug_watches(struct machine *machine, uint64_t virtual, uint64_t physical)
{
	const struct debug *debug = &machine->debug;

	if (debug->permitting) {
		return false;
	}
	for (unsigned i = 0; i < debug->watchpoints; i++) {
		const struct watchpoint *watch = &debug->watchpoint[i];

		if (overlap(watch, (watch->physical ? physical : virtual) & PAGE_MASK, PAGE_SIZE)) {
			return true;
		}
	}
	return false;
}

static void meet(struct debug *debug, unsigned index, uint64_t address, uint64_t bytes, bool write)
{
	debug->meets = true;
	debug->access = (struct debug_access){index, address, bytes, write};
}

void debug_watched_instruction(struct machine *machine, const struct load_store *access)
{
	struct debug *debug = &machine->debug;
	enum access kind = access && access->store ? ACCESS_WRITE : ACCESS_READ;

	debug->alone = true;
	debug->meets = false;
	debug->leaving = core_read_register(machine, REGISTER_PC); /* its breakpoint has been passed, once */
	for (unsigned i = 0; access && access->span && !debug->meets && i < debug->watchpoints; i++) {
		const struct watchpoint *watch = &debug->watchpoint[i];
		struct translation translation = {.address = access->address};
		struct fault unused;

		if (!(access->store ? watch->write : watch->read) ||
		    (watch->physical &&
		     !translate(machine, access->address, kind, current_level(machine), &translation, &unused))) {
			continue;
		}
		if (overlap(watch, translation.address, access->span)) {
			meet(debug, i, translation.address, access->span, access->store);
		}
	}
}

void debug_watched_instruction_ran(struct machine *machine, bool completed)
{
	struct debug *debug = &machine->debug;

	debug->alone = false;
	debug->accessed = debug->accessed || (debug->meets && completed);
	debug->meets = false;
}

static void look_at(struct machine *machine, uint64_t address, uint64_t bytes, bool write, bool physical)
{
	struct debug *debug = &machine->debug;

	for (unsigned i = 0; i < debug->watchpoints; i++) {
		const struct watchpoint *watch = &debug->watchpoint[i];

		if (watch->physical == physical && (write ? watch->write : watch->read) && overlap(watch, address, bytes)) {
			debug->access = (struct debug_access){i, address, bytes, write};
			debug->accessed = true;
			core_call_attention(machine);
		}
	}
}

void debug_accessed(struct machine *machine, uint64_t physical, uint64_t bytes, bool write)
{
	if (!machine->debug.permitting && bytes) { /* permitting: the core itself, which is looked at already */
		look_at(machine, physical, bytes, write, true);
	}
}

void debug_core_accessed(struct machine *machine, uint64_t virtual, uint64_t physical, uint64_t bytes, bool write)
{
	look_at(machine, virtual, bytes, write, false);
	look_at(machine, physical, bytes, write, true);
}

void debug_last_access(struct machine *machine, struct debug_access *access)
{
	*access = machine->debug.access;
}

/* --- events ----------------------------------------------------------------------------------------------------- */

void debug_stop_on(struct machine *machine, uint64_t kinds)
{
	machine->debug.event_kinds = kinds;
}

void debug_event(struct machine *machine, unsigned kind)
{
	if (machine->debug.event_kinds >> kind & 1) {
		machine->debug.at_event = true;
		core_call_attention(machine);
		uc_emu_stop(machine->core.engine); /* behind the instruction, where the engine is in the middle of a block */
	}
}

void debug_clear(struct machine *machine)
{
	struct debug *debug = &machine->debug;

	for (unsigned i = 0; i < debug->breakpoints; i++) {
		core_unhook_code(machine, debug->breakpoint[i]);
	}
	if (debug->breakpoints) {
		core_forget_all_code(machine);
	}
	debug->breakpoints = debug->watchpoints = 0;
	debug->event_kinds = 0;
	debug->at_event = debug->accessed = debug->alone = debug->meets = false;
}
