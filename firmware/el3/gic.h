/*
 * GICv2 (Arm IHI 0048B). Group 0 comes to EL3 as FIQ from every level below. The monitor enables one interrupt of it: the
 * secure physical timer, CNTPS, on which its deadlines run.
 */
#ifndef GIC_H
#define GIC_H

#include <stdint.h>

#define INTERRUPT_SECURE_TIMER 29 /* PPI 13, as on every Arm platform (BSA) */

void gic_start(void);
/* The Group 0 interrupt that is due, active from here on until gic_end; one from 1020 on if there is none. */
uint32_t gic_acknowledge(void);
void gic_end(uint32_t interrupt);

#endif
