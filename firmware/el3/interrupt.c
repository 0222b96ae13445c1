#include "interrupt.h"

#include "driver.h"
#include "gic.h"

/*
 * The timer's line falls when it is set anew or switched off, which its user has done before the interrupt ends. What is
 * over by then (the deadline was met in the same instant) is acknowledged and forgotten.
 */
void fiq_entry(struct context *interrupted)
{
	uint32_t interrupt = gic_acknowledge();

	if (interrupt == INTERRUPT_SECURE_TIMER) {
		driver_watch(context_world(interrupted) == WORLD_DRIVER);
	}
	gic_end(interrupt);
}
