/* Stops for a debugger, among the core's parts. */
#ifndef DEBUG_H
#define DEBUG_H

#include <stdbool.h>
#include <stdint.h>
#include <unicorn/unicorn.h>

#include "debug_api.h"

#define MAX_BREAKPOINTS 256
#define MAX_WATCHPOINTS 16

#define DEBUG_NOWHERE 1 /* no instruction is there */

struct watchpoint {
	uint64_t address;
	uint64_t bytes;
	bool read;
	bool write;
	bool physical;
};

struct debug {
	uint64_t entries_at; /* guest time of the last exception entry, */
	uint64_t entries;    /* and how many there were at that time */
	bool step;
	uc_hook breakpoint[MAX_BREAKPOINTS];
	unsigned breakpoints;
	uint64_t leaving;    /* no stop at the next instruction, if it is at this address */
	bool at_breakpoint;
	struct watchpoint watchpoint[MAX_WATCHPOINTS];
	unsigned watchpoints;
	bool refused;        /* the fill hook refused an access only because its page is watched */
	bool alone;          /* the next instruction makes that access, and runs alone */
	bool permitting;     /* it is running: its accesses are let through */
	bool meets;          /* and will have met a watchpoint, if it completes */
	bool accessed;       /* a watchpoint has been met */
	struct debug_access access;
	uint64_t event_kinds;
	bool at_event;
};

struct machine;
enum access;
struct load_store;

/* core_run begins. */
void debug_begin(struct machine *machine);
/* The machine stands elsewhere: what it has met does not matter there. */
void debug_restored(struct machine *machine);
/* An exception is being taken. */
void debug_exception(struct machine *machine);
void debug_event(struct machine *machine, unsigned kind);
/* The core looks up a page: whether an access to it has to be looked at. */
bool debug_watches(struct machine *machine, uint64_t virtual, uint64_t physical);
/* The next instruction accesses a watched page; NULL: in a way that we cannot decode. */
void debug_watched_instruction(struct machine *machine, const struct load_store *access);
/* It ran; or it took an exception instead. */
void debug_watched_instruction_ran(struct machine *machine, bool completed);
/* Another master, or a port, has accessed these bytes of memory or of a device. */
void debug_accessed(struct machine *machine, uint64_t physical, uint64_t bytes, bool write);
/* The core has, in a way that the engine does not perform. */
void debug_core_accessed(struct machine *machine, uint64_t virtual, uint64_t physical, uint64_t bytes, bool write);

#endif
