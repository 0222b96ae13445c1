/* Calls to EL3, as the trace sees them: when an SMC arrives, when EL3 is left, and how long it took. */
#include "core.h"

uint64_t core_longest_call(struct machine *machine)
{
	uint64_t longest = machine->core.longest_call;

	machine->core.longest_call = 0;
	return longest;
}

uint64_t core_context(struct machine *machine)
{
	const struct translation_registers *registers = core_translation_registers(machine);

	return registers->scr_el3 & 1 ? 1 | registers->vttbr_el2 >> 48 << EVENT_VMID_SHIFT : 0;
}

void core_smc_arrived(struct machine *machine, unsigned level)
{
	struct core *core = &machine->core;

	event(machine, EVENT_SMC, core_read_register(machine, 0), core_read_register(machine, 1),
	      core_read_register(machine, 2), core_read_register(machine, 3), core_read_register(machine, 4),
	      core_read_register(machine, 5), level, core_context(machine));
	core->in_call = core->watch_calls;
	core->call_start = core->instructions;
}

void core_entered_el3(struct machine *machine)
{
	if (machine->core.scrubbed_count) {
		core_release_scrubbed(machine);
	}
}

void core_watch_return(struct machine *machine)
{
	struct core *core = &machine->core;
	uint64_t length = core->instructions - core->block_bytes / 4 - core->call_start;
	unsigned level = current_level(machine);

	if (level == 3) {
		return;
	}
	core->in_call = false;
	core_compare_table(machine);
	core->longest_call = length > core->longest_call ? length : core->longest_call;
	event(machine, EVENT_SMC_RETURN, core_read_register(machine, 0), core_read_register(machine, 1),
	      core_read_register(machine, 2), core_read_register(machine, 3), core_read_register(machine, 4),
	      core_read_register(machine, 5), level, core_context(machine));
}

void core_watch_calls(struct machine *machine, bool watch)
{
	machine->core.watch_calls = watch;
	machine->core.in_call = machine->core.in_call && watch;
}
