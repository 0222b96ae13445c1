/* The event stream: one buffer, in the order in which things happened, drained by Python. */
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define EVENT_CAPACITY 65536
/* Room for what one instruction and one device write can still add once the core was asked to stop. */
#define EVENT_RESERVE 4096

void events_select(struct machine *machine, uint64_t kinds)
{
	if (kinds && !machine->events) {
		machine->events = calloc(EVENT_CAPACITY, sizeof *machine->events);
	}
	machine->event_kinds = machine->events ? kinds : 0;
}

void events_emit(struct machine *machine, uint32_t kind, const uint64_t *args, unsigned count)
{
	struct event *event;

	debug_event(machine, kind);
	if (!(machine->event_kinds >> kind & 1) || machine->event_count == EVENT_CAPACITY) {
		return;
	}
	event = &machine->events[machine->event_count++];
	*event = (struct event){.kind = kind, .instruction = core_instructions(machine)};
	memcpy(event->args, args, (count < 8 ? count : 8) * sizeof *args);
	if (machine->event_count >= EVENT_CAPACITY - EVENT_RESERVE) {
		core_call_attention(machine);
	}
}

bool events_full(const struct machine *machine)
{
	return instructions_full(machine) || machine->event_count >= EVENT_CAPACITY - EVENT_RESERVE;
}

uint64_t events_drain(struct machine *machine, struct event *events, uint64_t capacity)
{
	uint64_t count = machine->event_count < capacity ? machine->event_count : capacity;

	memcpy(events, machine->events, count * sizeof *events);
	machine->event_count -= count;
	memmove(machine->events, machine->events + count, machine->event_count * sizeof *events);
	return count;
}
