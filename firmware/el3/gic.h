/*
 * GICv2 (Arm IHI 0048B). Group 0 comes to EL3 as FIQ from every level below: the secure physical timer, and the NPU's
 * interrupts while it is secure. Everything else but the secure console's is Group 1, the normal world's.
 */
#ifndef GIC_H
#define GIC_H

#include <stdint.h>

#define INTERRUPT_SECURE_TIMER 29 /* PPI 13, as on every Arm platform (BSA) */

void gic_start(void);
/* The Group 0 interrupt that is due, active from here on; one from 1020 on if there is none. */
uint32_t gic_acknowledge(void);
/* Others of its priority may come, itself not before gic_deactivate. */
void gic_drop_priority(uint32_t interrupt);
void gic_deactivate(uint32_t interrupt);
/* What the normal world has set of an interrupt that is its own. */
struct gic_settings {
	int enabled;
	uint32_t priority;
};

/* Moves a device's interrupt to Group 0 and enables it, or gives it back as the normal world had it. Not pending, not active. */
struct gic_settings gic_take(uint32_t interrupt);
void gic_give_back(uint32_t interrupt, struct gic_settings settings);

#endif
