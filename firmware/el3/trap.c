#include "trap.h"

#include "driver.h"
#include "panic.h"

#define VECTOR_CURRENT_SP0 0x000
#define VECTOR_CURRENT_SPX 0x200
#define VECTOR_LOWER 0x400
#define EC(code) ((uint64_t)(code) << ESR_EC_SHIFT)

static uint64_t vector(uint64_t spsr)
{
	if ((spsr >> SPSR_EL_SHIFT & SPSR_EL_MASK) == 0) {
		return VECTOR_LOWER;
	}
	return spsr & SPSR_SP_ELX ? VECTOR_CURRENT_SPX : VECTOR_CURRENT_SP0;
}

/* The exception as S-EL1 would have taken it (Arm ARM D1.10), whose registers are in the core. */
static void undefined(struct context *secure)
{
	WRITE_SYSREG(elr_el1, secure->elr);
	WRITE_SYSREG(spsr_el1, secure->spsr);
	WRITE_SYSREG(esr_el1, EC(ESR_EC_UNKNOWN) | ESR_IL);
	secure->elr = READ_SYSREG(vbar_el1) + vector(secure->spsr);
	secure->spsr = SPSR_EL1H_MASKED;
}

void trapped_register(struct context *from)
{
	switch (context_world(from)) {
	case WORLD_SECURE:
		undefined(from);
		break;
	case WORLD_DRIVER:
		driver_fault();
		break;
	default:
		panic("trap: a register of the normal world's own");
	}
}
