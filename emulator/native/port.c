/* Ports: how a Python kernel loads and stores, through the translation and the filters of the world that it lives in. */
#include <stdlib.h>
#include <string.h>

#include "port.h"

struct port *port_new(struct machine *machine, unsigned world, int vmid)
{
	struct port *port = calloc(1, sizeof *port);

	if (port) {
		port->machine = machine;
		port->normal = world == 1;
		port->vmid = vmid;
	}
	return port;
}

void port_free(struct port *port)
{
	free(port);
}

bool port_open(struct port *port)
{
	const struct translation_registers *registers = core_translation_registers(port->machine);

	return current_level(port->machine) == 1 && (registers->scr_el3 & 1) == port->normal &&
	       (!port->normal || port->vmid < 0 || registers->vttbr_el2 >> 48 == (uint64_t)port->vmid);
}

static bool refuse(struct port *port, const struct fault *fault, bool write, uint64_t address)
{
	port->fault.syndrome = abort_syndrome(fault, write ? ACCESS_WRITE : ACCESS_READ, true);
	port->fault.address = address;
	return false;
}

static bool refuse_external(struct port *port, bool write, uint64_t address)
{
	struct fault fault = {.status = FSC_EXTERNAL};

	return refuse(port, &fault, write, address);
}

/* A port is closed while the core does not stand in its kernel: as if nothing were mapped. */
static enum bus_result find(struct port *port, uint64_t address, bool write, struct target *target,
			    struct translation *translation)
{
	struct fault fault = {.status = FSC_TRANSLATION};
	struct master master = {.privileged = true, .nsaid = NSAID_CPU};
	enum bus_result result;

	port->fault.syndrome = 0;
	if (!port_open(port) ||
	    !translate(port->machine, address, write ? ACCESS_WRITE : ACCESS_READ, 1, translation, &fault)) {
		refuse(port, &fault, write, address);
		return BUS_ERROR;
	}
	master.secure = !translation->non_secure;
	result = bus_check(port->machine, translation->address, master, write, target);
	if (result == BUS_ERROR) {
		refuse_external(port, write, address);
	}
	return result;
}

static void note(struct port *port, uint64_t physical, uint64_t bytes, bool write)
{
	if (write) {
		memory_written(port->machine, physical, bytes);
	} else {
		debug_accessed(port->machine, physical, bytes, false);
	}
}

static void forget_ranges_of_others(struct port *port)
{
	const struct translation_registers *registers = core_translation_registers(port->machine);

	if (port->restores != port->machine->restores || memcmp(registers, &port->registers, sizeof *registers) != 0) {
		port->restores = port->machine->restores;
		port->registers = *registers;
		memset(port->range, 0, sizeof port->range);
	}
}

/* Of a page that has been translated: how many of the bytes from there on lie together. */
static uint64_t reach(struct port *port, uint64_t va, uint64_t bytes, bool write, const struct translation *translation)
{
	const uint64_t slot = (va / PAGE_SIZE + bytes) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
	struct port_range *range = &port->range[slot % PORT_RANGES];

	if (bytes <= PAGE_SIZE - va % PAGE_SIZE) {
		return bytes;
	}
	forget_ranges_of_others(port);
	if (!range->bytes || !tlb_still(&port->machine->tlb, &range->found) || range->address != va ||
	    range->asked != bytes || range->physical != translation->address || range->write != write) {
		*range = (struct port_range){.address = va, .physical = translation->address, .asked = bytes, .write = write};
		range->bytes = translate_reach(port->machine, va, bytes, write ? ACCESS_WRITE : ACCESS_READ, 1, translation,
					       &range->found);
	}
	return bus_reach(port->machine, translation->address, range->bytes);
}

uint8_t *port_run(struct port *port, uint64_t va, bool write, uint64_t *bytes)
{
	struct target target = {0};
	struct translation translation;
	enum bus_result result = find(port, va, write, &target, &translation);

	if (result == BUS_OK && target.host) {
		*bytes = reach(port, va, *bytes, write, &translation);
		note(port, translation.address, *bytes, write);
		return target.host;
	}
	if (result != BUS_ERROR) {
		refuse_external(port, write, va); /* a device, or memory that a filter silently denies */
	}
	return NULL;
}

static bool transfer(struct port *port, uint64_t address, uint8_t *data, uint64_t bytes, bool write)
{
	while (bytes) {
		uint64_t part = bytes;
		uint8_t *host = port_run(port, address, write, &part);

		if (!host) {
			return false;
		}
		memcpy(write ? host : data, write ? data : host, part);
		address += part;
		data += part;
		bytes -= part;
	}
	return true;
}

bool port_read(struct port *port, uint64_t address, void *data, uint64_t bytes)
{
	return transfer(port, address, data, bytes, false);
}

bool port_write(struct port *port, uint64_t address, const void *data, uint64_t bytes)
{
	return transfer(port, address, (uint8_t *)data, bytes, true);
}

static bool access_word(struct port *port, uint64_t address, unsigned size, bool write, uint64_t *value)
{
	struct target target = {0};
	struct translation translation;
	enum bus_result result;

	if (size > 8 || address & (size - 1)) {
		return refuse(port, &(struct fault){.status = FSC_ALIGNMENT}, write, address);
	}
	result = find(port, address, write, &target, &translation);
	if (result == BUS_ERROR) {
		return false;
	}
	if (result == BUS_IGNORED) {
		*value = write ? *value : 0;
		return true;
	}
	if (target.host) {
		note(port, translation.address, size, write);
		*value = write ? *value : 0;
		memcpy(write ? (void *)target.host : value, write ? (void *)value : target.host, size);
		return true;
	}
	result = write ? device_write(port->machine, &target, size, !translation.non_secure, *value)
		       : device_read(port->machine, &target, size, !translation.non_secure, value);
	return result == BUS_OK || refuse_external(port, write, address);
}

bool port_load(struct port *port, uint64_t address, unsigned size, uint64_t *value)
{
	*value = 0;
	return access_word(port, address, size, false, value);
}

bool port_store(struct port *port, uint64_t address, unsigned size, uint64_t value)
{
	return access_word(port, address, size, true, &value);
}

bool port_is_zero(struct port *port, uint64_t address, uint64_t bytes, bool *zero)
{
	*zero = true;
	while (bytes) {
		uint64_t part = bytes;
		const uint8_t *host = port_run(port, address, false, &part);

		if (!host) {
			return false;
		}
		*zero = *zero && memory_is_zero(host, part);
		address += part;
		bytes -= part;
	}
	return true;
}

void port_last_fault(struct port *port, struct port_fault *fault)
{
	*fault = port->fault;
}
