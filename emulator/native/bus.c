/* The bus: finds what an address decodes to and lets the TZASC and the TZPC judge every access. */
#include <string.h>

#include "machine.h"

static enum bus_result denied(struct machine *machine, uint64_t address, struct master master, bool write,
			      enum filter_kind filter, enum bus_result result)
{
	event(machine, EVENT_DENIED, address, master.nsaid, master.secure, write, filter, result == BUS_ERROR);
	return result;
}

/* The first failure is latched until it is cleared; a later one only says that it was (DDI 0504, INT_STATUS). */
static void latch_failure(struct tzasc_failure *failure, uint64_t address, struct master master, bool write)
{
	if (failure->latched) {
		failure->overrun = true;
		return;
	}
	failure->latched = true;
	failure->address = address;
	failure->privileged = master.privileged;
	failure->non_secure = !master.secure;
	failure->write = write;
	failure->nsaid = master.nsaid;
}

static bool region_permits(const struct tzasc_region *region, struct master master, bool write)
{
	if (master.secure) {
		return write ? region->secure_write : region->secure_read;
	}
	return (write ? region->normal_write : region->normal_read) >> master.nsaid & 1;
}

/* A match in regions 1 to 8 overrides region 0. An overlap is undefined in hardware; here every match must permit. */
enum bus_result tzasc_judge(struct machine *machine, uint64_t address, struct master master, bool write)
{
	struct tzasc *tzasc = &machine->tzasc;
	unsigned matches = 0;
	bool permitted = tzasc->gate_open;

	for (unsigned i = 1; i < TZASC_REGIONS; i++) {
		const struct tzasc_region *region = &tzasc->region[i];

		if (region->enabled && region->base <= address && address <= region->top) {
			matches++;
			permitted = permitted && region_permits(region, master, write);
		}
	}
	if (matches == 0) {
		permitted = permitted && region_permits(&tzasc->region[0], master, write);
	}
	if (matches > 1) {
		tzasc->failure.overlap = true;
	}
	if (permitted) {
		return BUS_OK;
	}
	latch_failure(&tzasc->failure, address, master, write);
	return denied(machine, address, master, write, FILTER_TZASC, tzasc->bus_error ? BUS_ERROR : BUS_IGNORED);
}

static bool device_open_to(struct machine *machine, int device, struct master master)
{
	unsigned protection = machine->device[device].protection;

	if (master.secure || protection == PROTECTION_OPEN) {
		return true;
	}
	return protection < PROTECTION_OPEN && machine->tzpc.normal_devices >> protection & 1;
}

enum bus_result bus_check(struct machine *machine, uint64_t address, struct master master, bool write,
			  struct target *target)
{
	if (address - machine->dram.base < machine->dram.bytes) {
		target->host = machine->dram.host + (address - machine->dram.base);
		return tzasc_judge(machine, address, master, write);
	}
	if (address - machine->sram.base < machine->sram.bytes) {
		uint64_t offset = address - machine->sram.base;

		target->host = machine->sram.host + offset;
		if (!master.secure && offset >> PAGE_SHIFT < machine->tzpc.secure_sram_pages) {
			return denied(machine, address, master, write, FILTER_TZPC, BUS_ERROR);
		}
		return BUS_OK;
	}
	for (int i = 0; i < MAX_DEVICES; i++) {
		uint64_t offset = address - machine->device[i].base;

		if (!machine->device[i].present || offset >= machine->device[i].bytes) {
			continue;
		}
		*target = (struct target){.device = i, .offset = offset};
		if (!device_open_to(machine, i, master)) {
			return denied(machine, address, master, write, FILTER_TZPC, BUS_ERROR);
		}
		if (machine->device[i].shows_array && !write) {
			target->host = memory_at(machine, address);
		}
		return BUS_OK;
	}
	return denied(machine, address, master, write, FILTER_DECODE, BUS_ERROR);
}

uint64_t bus_reach(struct machine *machine, uint64_t address, uint64_t bytes)
{
	const uint64_t offset = address - machine->dram.base;

	if (offset >= machine->dram.bytes) {
		bytes = bytes < PAGE_SIZE - (address & ~PAGE_MASK) ? bytes : PAGE_SIZE - (address & ~PAGE_MASK);
		return bytes;
	}
	bytes = bytes < machine->dram.bytes - offset ? bytes : machine->dram.bytes - offset;
	for (unsigned i = 1; i < TZASC_REGIONS; i++) {
		const struct tzasc_region *region = &machine->tzasc.region[i];

		if (region->enabled && address < region->base && bytes > region->base - address) {
			bytes = region->base - address;
		} else if (region->enabled && region->base <= address && address <= region->top &&
			   bytes - 1 > region->top - address) {
			bytes = region->top - address + 1;
		}
	}
	return bytes;
}

bool bus_permits(struct machine *machine, uint64_t address, struct master master, bool write)
{
	uint64_t kinds = machine->event_kinds;
	struct tzasc_failure failure = machine->tzasc.failure;
	struct target target = {0};
	bool permitted;

	machine->event_kinds = 0;
	permitted = bus_check(machine, address, master, write, &target) == BUS_OK && target.host;
	machine->event_kinds = kinds;
	failure.overlap = machine->tzasc.failure.overlap; /* says what the regions are, not what was denied */
	machine->tzasc.failure = failure;
	return permitted;
}

static enum bus_result move(struct machine *machine, uint64_t address, struct master master, uint8_t *data,
			    size_t bytes, bool write)
{
	while (bytes) {
		size_t part = PAGE_SIZE - (address & ~PAGE_MASK);
		struct target target;
		enum bus_result result = bus_check(machine, address, master, write, &target);

		part = part < bytes ? part : bytes;
		if (result == BUS_ERROR || (result == BUS_OK && !target.host)) {
			return BUS_ERROR;
		}
		if (result == BUS_IGNORED) {
			memset(data, 0, write ? 0 : part);
		} else if (write) {
			memcpy(target.host, data, part);
			memory_written(machine, address, part);
		} else {
			memcpy(data, target.host, part);
		}
		address += part;
		data += part;
		bytes -= part;
	}
	return BUS_OK;
}

enum bus_result bus_read(struct machine *machine, uint64_t address, struct master master, void *data, size_t bytes)
{
	return move(machine, address, master, data, bytes, false);
}

enum bus_result bus_write(struct machine *machine, uint64_t address, struct master master, const void *data,
			  size_t bytes)
{
	return move(machine, address, master, (uint8_t *)data, bytes, true);
}

/* The GIC's registers are words: a 64-bit access is two. */
static enum bus_result access_gic(struct machine *machine, const struct target *target, unsigned size, bool write,
				  bool secure, uint64_t *value)
{
	enum gic_frame frame = machine->device[target->device].gic_frame;
	unsigned part = size < 4 ? size : 4;
	uint64_t read = 0;

	for (unsigned done = 0; done < size; done += part) {
		uint64_t offset = target->offset + done;
		uint32_t word = (uint32_t)(*value >> done * 8);
		bool known = write ? gic_write(machine, frame, offset, part, secure, word)
				   : gic_read(machine, frame, offset, part, secure, &word);

		if (!known) {
			event(machine, EVENT_UNDECLARED, (uint64_t)target->device, offset, part, write ? word : 0, write, secure);
		}
		read |= (uint64_t)word << done * 8;
	}
	*value = write ? *value : read;
	return BUS_OK;
}

/* So are the NPU's. */
static enum bus_result access_npu(struct machine *machine, const struct target *target, unsigned size, bool write,
				  bool secure, uint64_t *value)
{
	unsigned window = machine->device[target->device].npu_window - 1;
	unsigned part = size < 4 ? size : 4;
	uint64_t read = 0;

	for (unsigned done = 0; done < size; done += part) {
		uint64_t offset = target->offset + done;
		uint32_t word = (uint32_t)(*value >> done * 8);
		enum npu_access result = write ? npu_write(machine, window, offset, part, word)
					       : npu_read(machine, window, offset, part, &word);

		if (result == NPU_NO_ANSWER) {
			return BUS_ERROR;
		}
		if (result == NPU_UNDECLARED) {
			event(machine, EVENT_UNDECLARED, (uint64_t)target->device, offset, part, write ? word : 0, write, secure);
		}
		read |= (uint64_t)word << done * 8;
	}
	*value = write ? *value : read;
	return BUS_OK;
}

static enum bus_result access_device(struct machine *machine, const struct target *target, unsigned size, bool write,
				     bool secure, uint64_t *value)
{
	if (machine->callback_failed) {
		return BUS_ERROR;
	}
	if (machine->device[target->device].gic_frame != GIC_NO_FRAME) {
		return access_gic(machine, target, size, write, secure, value);
	}
	if (machine->device[target->device].npu_window) {
		return access_npu(machine, target, size, write, secure, value);
	}
	return device_access(machine, target->device, target->offset, size, write, secure, value) ? BUS_OK : BUS_ERROR;
}

enum bus_result device_read(struct machine *machine, const struct target *target, unsigned size, bool secure,
			    uint64_t *value)
{
	return access_device(machine, target, size, false, secure, value);
}

enum bus_result device_write(struct machine *machine, const struct target *target, unsigned size, bool secure,
			     uint64_t value)
{
	return access_device(machine, target, size, true, secure, &value);
}

void tzasc_set_region(struct machine *machine, unsigned index, const struct tzasc_region *region)
{
	if (index < TZASC_REGIONS) {
		machine->tzasc.region[index] = *region;
		core_flush(machine);
	}
}

void tzasc_set_control(struct machine *machine, bool gate_open, bool bus_error)
{
	machine->tzasc.gate_open = gate_open;
	machine->tzasc.bus_error = bus_error;
	core_flush(machine);
}

void tzasc_failure(struct machine *machine, struct tzasc_failure *failure)
{
	*failure = machine->tzasc.failure;
}

void tzasc_clear_failure(struct machine *machine)
{
	memset(&machine->tzasc.failure, 0, sizeof machine->tzasc.failure);
}

void tzpc_set(struct machine *machine, uint32_t secure_sram_pages, uint64_t normal_devices)
{
	machine->tzpc.secure_sram_pages = secure_sram_pages;
	machine->tzpc.normal_devices = normal_devices;
	core_flush(machine);
}
