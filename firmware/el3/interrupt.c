#include "interrupt.h"

#include "deadline.h"
#include "driver.h"
#include "gic.h"
#include "memory_map.h"
#include "preempt.h"

static uint32_t noted; /* a bit for each core of the NPU */

/* SCR_EL3 sends one here from the secure world and the driver context only. It is the normal world's: that acknowledges it. */
void irq_entry(struct context *interrupted)
{
	preempt(interrupted);
}

static void timer_fired(struct context *interrupted)
{
	enum world runs = context_world(interrupted);

	if (runs == WORLD_NORMAL) {
		deadline_none();
		return;
	}
	if (runs == WORLD_DRIVER && driver_timed_out()) {
		return;
	}
	if (deadline_recall_due()) {
		preempt(interrupted);
	} else if (runs == WORLD_DRIVER) {
		driver_watch();
	} else {
		deadline_for_secure(); /* what was owed has been paid since */
	}
}

/*
 * The NPU's line stays high until the driver has cleared it. The interrupt stays active for as long, so that it comes once:
 * what runs goes on, its WFI has ended; if that is the normal world, the next entry into the secure world says so.
 *
 * The timer's line falls when it is set anew or switched off, which its user has done before the interrupt ends. What is
 * over by then (the deadline was met in the same instant) is acknowledged and forgotten.
 */
void fiq_entry(struct context *interrupted)
{
	uint32_t interrupt = gic_acknowledge();

	if (interrupt == INTERRUPT_SECURE_TIMER) {
		timer_fired(interrupted);
	}
	gic_drop_priority(interrupt);
	if (interrupt >= INTERRUPT_NPU0 && interrupt <= INTERRUPT_NPU2) {
		noted |= 1U << (interrupt - INTERRUPT_NPU0);
	} else if (interrupt == INTERRUPT_SECURE_TIMER) {
		gic_deactivate(interrupt);
	}
}

int interrupt_noted(void)
{
	return noted != 0;
}

void interrupt_done(void)
{
	for (unsigned core = 0; noted; core++, noted >>= 1) {
		if (noted & 1) {
			gic_deactivate(INTERRUPT_NPU0 + core);
		}
	}
}
