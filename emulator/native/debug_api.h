/*
 * Stops for a debugger, and where in its run a machine stands. Included in C and read by cffi, as api.h is. With nothing
 * set, nothing costs anything; whatever is set, the guest executes the same.
 */
#ifndef DEBUG_API_H
#define DEBUG_API_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

/* Positions are ordered by these two, in this order; every step leads to a later one. */
struct position {
	uint64_t instructions; /* guest time */
	uint64_t entries;      /* exceptions taken since it last advanced */
};

void debug_position(struct machine *machine, struct position *position);
/*
 * core_run stops (STOP_STEP) after one instruction or one exception entry. What takes an exception ends at its vector: SVC,
 * HVC and SMC count as executed and lead to (n + 1, 1); an instruction that faults does not, and leads to (n, 1).
 */
void debug_step(struct machine *machine, bool on);
/* core_run stops (STOP_BREAKPOINT) before the instruction at this virtual address. */
bool debug_break(struct machine *machine, uint64_t address);
/* The instruction that is next is executed although there may be a breakpoint. */
void debug_leave(struct machine *machine);
/* core_run stops (STOP_WATCHPOINT) behind an instruction that accesses one of these bytes, or a write of another master. */
bool debug_watch(struct machine *machine, uint64_t address, uint64_t bytes, bool read, bool write, bool physical);
/* core_run stops (STOP_AT_EVENT) behind the instruction that causes an event of these kinds. */
void debug_stop_on(struct machine *machine, uint64_t kinds);
/* No breakpoints, watchpoints or stops at events any more. */
void debug_clear(struct machine *machine);

struct debug_access {
	uint64_t watch;   /* the watchpoint, in the order in which they were set */
	uint64_t address; /* virtual where the watchpoint is */
	uint64_t bytes;
	bool write;
};

/* What the last STOP_WATCHPOINT was about. */
void debug_last_access(struct machine *machine, struct debug_access *access);

#endif
