/* Physical memory: sparse, backed by the host page by page as it is written. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

bool memory_init(struct memory *memory, uint64_t base, uint64_t bytes)
{
	uint64_t pages = bytes >> PAGE_SHIFT;

	memory->base = base;
	memory->bytes = bytes;
	memory->code = calloc((pages + 63) / 64, sizeof *memory->code);
	memory->dirty = calloc((pages + 63) / 64, sizeof *memory->dirty);
	memory->host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory->host == MAP_FAILED) {
		memory->host = NULL;
		return false;
	}
	madvise(memory->host, bytes, MADV_NOHUGEPAGE); /* sparse means page by page */
	return memory->code && memory->dirty;
}

struct memory *memory_of(struct machine *machine, uint64_t address)
{
	if (address - machine->dram.base < machine->dram.bytes) {
		return &machine->dram;
	}
	if (address - machine->sram.base < machine->sram.bytes) {
		return &machine->sram;
	}
	if (address - machine->flash.base < machine->flash.bytes) {
		return &machine->flash;
	}
	return NULL;
}

uint8_t *memory_at(struct machine *machine, uint64_t address)
{
	struct memory *memory = memory_of(machine, address);

	return memory ? memory->host + (address - memory->base) : NULL;
}

static void page_written(struct machine *machine, struct memory *memory, uint64_t address)
{
	uint64_t page = (address - memory->base) >> PAGE_SHIFT;

	memory->dirty[page / 64] |= UINT64_C(1) << page % 64;
	if (memory->code[page / 64] >> page % 64 & 1) {
		memory->code[page / 64] &= ~(UINT64_C(1) << page % 64);
		core_forget_code(machine, address & PAGE_MASK, PAGE_SIZE);
	}
}

void memory_written(struct machine *machine, uint64_t address, uint64_t bytes)
{
	struct memory *memory = memory_of(machine, address);

	if (!memory) {
		return;
	}
	debug_accessed(machine, address, bytes, true);
	page_written(machine, memory, address);
	for (uint64_t next = (address & PAGE_MASK) + PAGE_SIZE; next < address + bytes; next += PAGE_SIZE) {
		page_written(machine, memory, next);
	}
}

bool memory_is_zero(const uint8_t *data, size_t bytes)
{
	return bytes == 0 || (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

/* Calls for each page's part of a range; false when a part is not memory. */
static bool transfer(struct machine *machine, uint64_t address, void *data, uint64_t bytes, bool write)
{
	uint8_t *buffer = data;

	while (bytes) {
		uint64_t part = PAGE_SIZE - (address & ~PAGE_MASK);
		uint8_t *host = memory_at(machine, address);

		if (!host) {
			return false;
		}
		part = part < bytes ? part : bytes;
		if (write) {
			memcpy(host, buffer, part);
			memory_written(machine, address, part);
		} else {
			memcpy(buffer, host, part);
		}
		address += part;
		buffer += part;
		bytes -= part;
	}
	return true;
}

bool memory_read(struct machine *machine, uint64_t address, void *data, uint64_t bytes)
{
	return transfer(machine, address, data, bytes, false);
}

bool memory_write(struct machine *machine, uint64_t address, const void *data, uint64_t bytes)
{
	return transfer(machine, address, (void *)data, bytes, true);
}
