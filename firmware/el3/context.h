/*
 * What the monitor keeps of a world: x0-x30 and the return state from every entry to EL3, the rest while another
 * runs. TPIDR_EL3 holds the context of the world that entered EL3, and so of the one that EL3 will return to.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include "sysreg.h"

#define CONTEXT_X          0x000
#define CONTEXT_X30        0x0f0
#define CONTEXT_ELR        0x0f8
#define CONTEXT_SPSR       0x100
#define CONTEXT_SCR        0x108
#define CONTEXT_FPCR       0x110
#define CONTEXT_FPSR       0x118
#define CONTEXT_V          0x120
#define CONTEXT_EL1        0x320
#define CONTEXT_EL1_COUNT  32
#define CONTEXT_SIZE       (CONTEXT_EL1 + CONTEXT_EL1_COUNT * 8)

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* The worlds as SCR_EL3.NS, then the driver context, which is non-secure, too, behind a stage-2 table of its own. */
enum world { WORLD_SECURE, WORLD_NORMAL, WORLD_DRIVER, CONTEXTS };

struct context {
	uint64_t x[31];
	uint64_t elr;
	uint64_t spsr;
	uint64_t scr;
	uint64_t fpcr;
	uint64_t fpsr;
	uint64_t v[32][2];
	uint64_t el1[CONTEXT_EL1_COUNT]; /* in the order of world_switch.S, which begins with SCTLR_EL1 */
};

_Static_assert(offsetof(struct context, x[30]) == CONTEXT_X30, "CONTEXT_X30");
_Static_assert(offsetof(struct context, elr) == CONTEXT_ELR, "CONTEXT_ELR");
_Static_assert(offsetof(struct context, spsr) == CONTEXT_SPSR, "CONTEXT_SPSR");
_Static_assert(offsetof(struct context, scr) == CONTEXT_SCR, "CONTEXT_SCR");
_Static_assert(offsetof(struct context, fpcr) == CONTEXT_FPCR, "CONTEXT_FPCR");
_Static_assert(offsetof(struct context, v) == CONTEXT_V, "CONTEXT_V");
_Static_assert(offsetof(struct context, el1) == CONTEXT_EL1, "CONTEXT_EL1");
_Static_assert(sizeof(struct context) == CONTEXT_SIZE, "CONTEXT_SIZE");

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
