/* Loads and stores that the engine may not perform inline: devices, and memory that a filter denies without an error. */
#include <string.h>

#include "machine.h"

enum outcome { DONE, ABORTED };

static enum outcome abort_at(struct machine *machine, uint8_t status, bool store, uint64_t address)
{
	struct fault fault = {.status = status};

	exception_abort(machine, &fault, store ? ACCESS_WRITE : ACCESS_READ, address);
	return ABORTED;
}

/* Devices take aligned accesses only, and no DC ZVA (Arm ARM B2.7.2). */
static bool fits_device(const struct load_store *access)
{
	return !access->zero_block && !(access->address & (access->size - 1));
}

/*
 * Within one page. A store that the bus refuses is an SError: it has left the core when the answer comes back. On a
 * board where stores wait for the answer it is a data abort.
 */
static enum outcome access_part(struct machine *machine, const struct load_store *access, uint64_t address,
				unsigned level, uint8_t *data, unsigned bytes)
{
	bool store = access->store;
	struct translation translation;
	struct fault fault;
	struct target target;
	struct master master = {.privileged = level > 0, .nsaid = NSAID_CPU};
	enum bus_result result;
	uint64_t value = 0;

	if (!translate(machine, address, store ? ACCESS_WRITE : ACCESS_READ, level, &translation, &fault)) {
		exception_abort(machine, &fault, store ? ACCESS_WRITE : ACCESS_READ, address);
		return ABORTED;
	}
	master.secure = !translation.non_secure;
	result = bus_check(machine, translation.address, master, store, &target);
	if (result == BUS_OK && target.host) {
		memcpy(store ? target.host : data, store ? data : target.host, bytes);
		if (store) {
			memory_written(machine, translation.address, bytes);
		}
		debug_core_accessed(machine, address, translation.address, bytes, store);
		return DONE;
	}
	if (result == BUS_OK && !fits_device(access)) {
		return abort_at(machine, FSC_ALIGNMENT, store, access->far);
	}
	if (result == BUS_OK && store) {
		memcpy(&value, data, bytes);
		result = device_write(machine, &target, bytes, master.secure, value);
	} else if (result == BUS_OK) {
		result = device_read(machine, &target, bytes, master.secure, &value);
	}
	if (machine->callback_failed) {
		return ABORTED; /* the device's model failed, not the device: the instruction is not executed */
	}
	if (result == BUS_ERROR && store && !machine->stores_wait) {
		machine->core.serror_pending = true;
		return DONE;
	}
	if (result == BUS_ERROR) {
		return abort_at(machine, FSC_EXTERNAL, store, address);
	}
	if (!store) {
		memcpy(data, &value, bytes);
	}
	debug_core_accessed(machine, address, translation.address, bytes, store);
	return DONE;
}

/* One register's bytes, cut at page ends and, for devices, into pieces of at most 8. */
static enum outcome access_element(struct machine *machine, const struct load_store *access, uint64_t address,
				   unsigned level, uint8_t *data)
{
	unsigned bytes = access->size;

	while (bytes) {
		unsigned part = bytes < 8 ? bytes : 8;
		uint64_t to_page_end = PAGE_SIZE - (address & ~PAGE_MASK);

		part = part < to_page_end ? part : (unsigned)to_page_end;
		if (access_part(machine, access, address, level, data, part) == ABORTED) {
			return ABORTED;
		}
		address += part;
		data += part;
		bytes -= part;
	}
	return DONE;
}

static void register_bytes(struct machine *machine, const struct load_store *access, unsigned element, uint64_t value[2])
{
	unsigned index = element ? access->rt2 : access->rt;

	value[0] = value[1] = 0;
	if (access->zero_block) {
		return;
	}
	if (access->vector) {
		core_read_vector(machine, index, &value[0], &value[1]);
	} else if (index != 31) {
		value[0] = core_read_register(machine, index);
	}
}

static void set_register(struct machine *machine, const struct load_store *access, unsigned element, uint64_t value[2])
{
	unsigned index = element ? access->rt2 : access->rt;

	if (access->vector) {
		core_write_vector(machine, index, value[0], value[1]);
		return;
	}
	if (access->sign_extend) {
		unsigned shift = 64 - access->size * 8;

		value[0] = (uint64_t)((int64_t)(value[0] << shift) >> shift);
		if (!access->wide) {
			value[0] = (uint32_t)value[0];
		}
	}
	if (index != 31) {
		core_write_register(machine, index, value[0]);
	}
}

void load_store_perform(struct machine *machine, const struct load_store *access, uint64_t pc)
{
	unsigned level = access->unprivileged && current_level(machine) == 1 ? 0 : current_level(machine);
	uint64_t value[8][2];

	for (unsigned i = 0; i < access->elements; i++) {
		if (access->store) {
			register_bytes(machine, access, i, value[i]);
		} else {
			memset(value[i], 0, sizeof value[i]);
		}
		if (access_element(machine, access, access->address + i * access->size, level, (uint8_t *)value[i]) ==
		    ABORTED) {
			return;
		}
	}
	for (unsigned i = 0; i < access->elements && !access->store; i++) {
		set_register(machine, access, i, value[i]);
	}
	if (access->exclusive && access->store && access->rs != 31) {
		core_write_register(machine, access->rs, 1); /* no exclusive monitor watches devices: the store fails */
	}
	if (access->mode != MODE_NONE) {
		core_write_register(machine, access->rn, access->written_back);
	}
	core_write_register(machine, REGISTER_PC, pc + 4);
	machine->core.instructions++;
}
