#include "tzpc.h"

#include "memory_map.h"
#include "panic.h"
#include "registers.h"
#include "sysreg.h"

void tzpc_start(void)
{
	device_write(TZPC_BASE + TZPC_R0SIZE, TZPC_R0SIZE_SECURE_PAGES_WHOLE_RAM);
	device_write(TZPC_BASE + TZPC_DECPROT_CLR(0), TZPC_DECPROT_CLR_NORMAL_MASK);
	device_write(TZPC_BASE + TZPC_DECPROT_CLR(1), TZPC_DECPROT_CLR_NORMAL_MASK);
	device_write(TZPC_BASE + TZPC_DECPROT_CLR(2), TZPC_DECPROT_CLR_NORMAL_MASK);
	device_write(TZPC_BASE + TZPC_DECPROT_SET(0), DECPROT_NORMAL);
	dsb_system();
	if (device_read(TZPC_BASE + TZPC_R0SIZE) != TZPC_R0SIZE_SECURE_PAGES_WHOLE_RAM) {
		panic("tzpc: R0SIZE does not show what was set");
	}
	if (device_read(TZPC_BASE + TZPC_DECPROT_STAT(0)) != DECPROT_NORMAL) {
		panic("tzpc: DECPROT0 does not show what was set");
	}
}
