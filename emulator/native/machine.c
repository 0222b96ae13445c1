/* Making and unmaking a machine. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "machine.h"

static void memory_release(struct memory *memory)
{
	if (memory->host) {
		munmap(memory->host, memory->bytes);
	}
	free(memory->code);
	free(memory->dirty);
}

/* NULL only when the host has no memory for it; check machine_error for anything else. */
struct machine *machine_new(uint64_t dram_base, uint64_t dram_bytes, uint64_t sram_base, uint64_t sram_bytes)
{
	struct machine *machine = calloc(1, sizeof *machine);

	if (!machine) {
		return NULL;
	}
	if (!memory_init(&machine->dram, dram_base, dram_bytes) || !memory_init(&machine->sram, sram_base, sram_bytes) ||
	    !tlb_init(&machine->tlb)) {
		snprintf(machine->error, sizeof machine->error, "the host gives no memory for %llu MiB of DRAM",
			 (unsigned long long)(dram_bytes >> 20));
	} else if (!core_init(machine)) {
		snprintf(machine->error, sizeof machine->error, "the engine could not be set up");
	}
	return machine;
}

void machine_free(struct machine *machine)
{
	if (machine->core.engine_context) {
		uc_context_free(machine->core.engine_context);
	}
	if (machine->core.engine) {
		uc_close(machine->core.engine);
	}
	memory_release(&machine->dram);
	memory_release(&machine->sram);
	memory_release(&machine->flash);
	tlb_release(&machine->tlb);
	smmu_release(machine);
	npu_release(machine);
	free(machine->table.known);
	instructions_release(machine);
	free(machine->events);
	free(machine);
}

const char *machine_error(struct machine *machine)
{
	return machine->error;
}

void machine_add_device(struct machine *machine, int device, uint64_t base, uint64_t bytes, unsigned protection)
{
	if (device >= 0 && device < MAX_DEVICES) {
		machine->device[device].base = base;
		machine->device[device].bytes = bytes;
		machine->device[device].protection = protection;
		machine->device[device].present = true;
	}
}

bool machine_add_flash(struct machine *machine, uint64_t base, uint64_t bytes)
{
	return memory_init(&machine->flash, base, bytes) &&
	       uc_mem_map_ptr(machine->core.engine, base, bytes, UC_PROT_ALL, machine->flash.host) == UC_ERR_OK;
}

void machine_show_array(struct machine *machine, int device, bool shown)
{
	if (device >= 0 && device < MAX_DEVICES) {
		machine->device[device].shows_array = shown;
		core_flush(machine);
	}
}

void machine_let_stores_wait(struct machine *machine)
{
	machine->stores_wait = true;
}

void machine_callback_failed(struct machine *machine)
{
	machine->callback_failed = true;
	core_call_attention(machine);
}
