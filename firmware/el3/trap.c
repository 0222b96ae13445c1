#include "trap.h"

#include "driver.h"

#define VECTOR_CURRENT_SP0 0x000
#define VECTOR_CURRENT_SPX 0x200
#define VECTOR_LOWER 0x400
#define VECTOR_LOWER_AARCH32 0x600
#define EC(code) ((uint64_t)(code) << ESR_EC_SHIFT)

static uint64_t vector(uint64_t spsr)
{
	if ((spsr >> SPSR_EL_SHIFT & SPSR_EL_MASK) == 0) {
		return spsr & SPSR_AARCH32 ? VECTOR_LOWER_AARCH32 : VECTOR_LOWER;
	}
	return spsr & SPSR_SP_ELX ? VECTOR_CURRENT_SPX : VECTOR_CURRENT_SP0;
}

/* The exception as EL1 would have taken it (Arm ARM D1.10): the world's registers are in the core. */
static void undefined(struct context *world)
{
	WRITE_SYSREG(elr_el1, world->elr);
	WRITE_SYSREG(spsr_el1, world->spsr);
	WRITE_SYSREG(esr_el1, EC(ESR_EC_UNKNOWN) | ESR_IL);
	world->elr = READ_SYSREG(vbar_el1) + vector(world->spsr);
	world->spsr = SPSR_EL1H_MASKED;
}

void trapped(struct context *from)
{
	if (context_world(from) == WORLD_DRIVER) {
		driver_fault();
	} else {
		undefined(from);
	}
}
