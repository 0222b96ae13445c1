/*
 * A table of bytes in memory whose changes are events: what it holds is compared with what it held whenever a call to
 * EL3 has ended. The phone's is the monitor's page-ownership table; what the bytes mean nobody here knows.
 */
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define CHUNK 4096

bool core_watch_table(struct machine *machine, uint64_t base, uint64_t bytes)
{
	struct table *table = &machine->table;

	free(table->known);
	*table = (struct table){.base = base, .bytes = bytes, .known = calloc(1, bytes)};
	return table->known != NULL;
}

static bool is_wanted(const struct machine *machine)
{
	return (machine->event_kinds | machine->debug.event_kinds) >> EVENT_OWNERSHIP & 1;
}

/* Neighbours that changed alike are one event. */
static void compare(struct machine *machine, const uint8_t *now, uint64_t first, uint64_t count)
{
	uint8_t *known = machine->table.known;

	for (uint64_t i = first; i < first + count;) {
		uint64_t end = i + 1;

		if (known[i] == now[i]) {
			i++;
			continue;
		}
		while (end < machine->table.bytes && known[end] == known[i] && now[end] == now[i]) {
			end++;
		}
		event(machine, EVENT_OWNERSHIP, i, end - i, known[i], now[i]);
		memcpy(known + i, now + i, end - i);
		i = end;
	}
}

void core_compare_table(struct machine *machine)
{
	struct table *table = &machine->table;
	const uint8_t *now = table->known ? memory_at(machine, table->base) : NULL;

	if (!now || !is_wanted(machine)) {
		return;
	}
	for (uint64_t at = 0; at < table->bytes; at += CHUNK) {
		uint64_t count = table->bytes - at < CHUNK ? table->bytes - at : CHUNK;

		if (memcmp(table->known + at, now + at, count) != 0) {
			compare(machine, now, at, count);
		}
	}
}
