#include "tzpc.h"

#include "memory_map.h"
#include "panic.h"
#include "registers.h"
#include "sysreg.h"

#define DECPROT_REGISTERS 3
#define DECPROT_BITS 8 /* devices a register */
#define NORMAL_BITS(index) (DECPROT_NORMAL >> (index) * DECPROT_BITS & ((1 << DECPROT_BITS) - 1))

void tzpc_start(void)
{
	device_write(TZPC_BASE + TZPC_R0SIZE, TZPC_R0SIZE_SECURE_PAGES_WHOLE_RAM);
	device_write(TZPC_BASE + TZPC_DECPROT_CLR(0), TZPC_DECPROT_CLR_NORMAL_MASK);
	device_write(TZPC_BASE + TZPC_DECPROT_CLR(1), TZPC_DECPROT_CLR_NORMAL_MASK);
	device_write(TZPC_BASE + TZPC_DECPROT_CLR(2), TZPC_DECPROT_CLR_NORMAL_MASK);
	for (unsigned i = 0; i < DECPROT_REGISTERS; i++) {
		device_write(TZPC_BASE + TZPC_DECPROT_SET(i), NORMAL_BITS(i));
	}
	dsb_system();
	if (device_read(TZPC_BASE + TZPC_R0SIZE) != TZPC_R0SIZE_SECURE_PAGES_WHOLE_RAM) {
		panic("tzpc: R0SIZE does not show what was set");
	}
	for (unsigned i = 0; i < DECPROT_REGISTERS; i++) {
		if (device_read(TZPC_BASE + TZPC_DECPROT_STAT(i)) != NORMAL_BITS(i)) {
			panic("tzpc: DECPROT does not show what was set");
		}
	}
}
