#include "gic.h"

#include "memory_map.h"
#include "registers.h"
#include "sysreg.h"

#define LOWEST_PRIORITY 0xff
#define SPECIAL 1020 /* numbers from here on name no interrupt (IHI 0048B, 3.2) */

void gic_start(void)
{
	device_write(GICD_BASE + GICD_ISENABLER(0), UINT32_C(1) << INTERRUPT_SECURE_TIMER);
	device_write(GICD_BASE + GICD_CTLR, GICD_CTLR_ENABLE_GROUP0_MASK);
	device_write(GICC_BASE + GICC_PMR, LOWEST_PRIORITY);
	device_write(GICC_BASE + GICC_CTLR, GICC_CTLR_ENABLE_GROUP0_MASK | GICC_CTLR_FIQ_ENABLE_MASK);
	dsb_system();
}

uint32_t gic_acknowledge(void)
{
	return device_read(GICC_BASE + GICC_IAR) & GICC_IAR_ID_MASK;
}

void gic_end(uint32_t interrupt)
{
	if (interrupt < SPECIAL) {
		device_write(GICC_BASE + GICC_EOIR, interrupt);
		dsb_system();
	}
}
