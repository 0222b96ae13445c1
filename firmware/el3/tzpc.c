#include "tzpc.h"

#include "memory_map.h"
#include "panic.h"
#include "registers.h"
#include "sysreg.h"

void tzpc_start(void)
{
	device_write(TZPC_BASE + TZPC_R0SIZE, SECURE_SRAM_SIZE / PAGE_SIZE);
	device_write(TZPC_BASE + TZPC_DECPROT0_CLR, 0xff);
	device_write(TZPC_BASE + TZPC_DECPROT1_CLR, 0xff);
	device_write(TZPC_BASE + TZPC_DECPROT2_CLR, 0xff);
	device_write(TZPC_BASE + TZPC_DECPROT0_SET, DECPROT_NORMAL);
	dsb_system();
	if (device_read(TZPC_BASE + TZPC_R0SIZE) != SECURE_SRAM_SIZE / PAGE_SIZE) {
		panic("tzpc: R0SIZE does not take the size of the secure SRAM");
	}
	if (device_read(TZPC_BASE + TZPC_DECPROT0_STAT) != DECPROT_NORMAL) {
		panic("tzpc: DECPROT0 does not show what was set");
	}
}
