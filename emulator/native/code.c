/* What the engine caches of ours: its TLB, which merely caches the architectural one, and translated code. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "core.h"

void core_flush(struct machine *machine)
{
	machine->core.fetched.host = NULL;
	float_traps_forget(&machine->core);
	if (machine->core.engine) {
		uc_ctl_flush_tlb(machine->core.engine);
	}
}

/* The engine finds code to forget by virtual address: for this look-up the fill hook maps every page to itself. */
void core_forget_code(struct machine *machine, uint64_t address, uint64_t bytes)
{
	machine->core.forgetting = true;
	float_traps_forget(&machine->core);
	uc_ctl_flush_tlb(machine->core.engine);
	uc_ctl_remove_cache(machine->core.engine, address, address + bytes);
	machine->core.forgetting = false;
	uc_ctl_flush_tlb(machine->core.engine);
}

void core_forget_all_code(struct machine *machine)
{
	uc_ctl_flush_tb(machine->core.engine);
}

void core_mark_code(struct machine *machine, struct memory *memory, uint64_t physical)
{
	uint64_t page = (physical - memory->base) >> PAGE_SHIFT;

	if (!(memory->code[page / 64] >> page % 64 & 1)) {
		memory->code[page / 64] |= UINT64_C(1) << page % 64;
		core_flush(machine); /* no stale writable entry of the page may stay: its stores would go unseen */
	}
}

/* Pages that EL3 scrubbed go back to the host: an untouched page of a sparse memory reads as zeros. */
void core_release_scrubbed(struct machine *machine)
{
	struct core *core = &machine->core;

	for (unsigned i = 0; i < core->scrubbed_count; i++) {
		uint8_t *host = memory_at(machine, core->scrubbed[i]);

		if (memory_is_zero(host, PAGE_SIZE)) {
			madvise(host, PAGE_SIZE, MADV_DONTNEED);
		}
	}
	core->scrubbed_count = 0;
}

void core_note_scrubbing(struct machine *machine, uint64_t physical)
{
	struct core *core = &machine->core;

	if (core->scrubbed_count == SCRUB_LIST) {
		core_release_scrubbed(machine);
	}
	core->scrubbed[core->scrubbed_count++] = physical & PAGE_MASK;
}
