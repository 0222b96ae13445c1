/*
 * What the monitor keeps of a world (monitor_memory.h has its parts). TPIDR_EL3 holds the context of the world that
 * entered EL3, and so of the one that EL3 will return to.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include "monitor_memory.h"
#include "sysreg.h"

#define CONTEXT_NORMAL (1 * CONTEXT_SIZE) /* offset in `contexts` of the normal world's */

#ifndef __ASSEMBLER__
#include <stddef.h>

/* The worlds as SCR_EL3.NS, then the driver context, which is non-secure, too, behind a stage-2 table of its own. */
enum world { WORLD_SECURE, WORLD_NORMAL, WORLD_DRIVER, CONTEXTS };

_Static_assert(offsetof(struct context, elr) == CONTEXT_ELR, "CONTEXT_ELR");
_Static_assert(offsetof(struct context, spsr) == CONTEXT_SPSR, "CONTEXT_SPSR");
_Static_assert(offsetof(struct context, scr) == CONTEXT_SCR, "CONTEXT_SCR");
_Static_assert(offsetof(struct context, mdcr) == CONTEXT_MDCR, "CONTEXT_MDCR");
_Static_assert(offsetof(struct context, fpcr) == CONTEXT_FPCR, "CONTEXT_FPCR");
_Static_assert(offsetof(struct context, v) == CONTEXT_V, "CONTEXT_V");
_Static_assert(offsetof(struct context, el1) == CONTEXT_EL1, "CONTEXT_EL1");
_Static_assert(offsetof(struct context, timers) == CONTEXT_TIMERS, "CONTEXT_TIMERS");
_Static_assert(sizeof(struct context) == CONTEXT_SIZE, "CONTEXT_SIZE");
_Static_assert(WORLD_NORMAL * CONTEXT_SIZE == CONTEXT_NORMAL, "CONTEXT_NORMAL");

extern struct context contexts[CONTEXTS];

static inline enum world context_world(const struct context *context)
{
	return (enum world)(context - contexts);
}

/* Saves the EL1 and vector registers of `from`, restores those of `to`, and makes `to` the world EL3 returns to. */
void world_switch(struct context *from, struct context *to);
/* The same at boot, when no world's registers are worth saving. */
void world_enter(struct context *to);
#endif

#endif
