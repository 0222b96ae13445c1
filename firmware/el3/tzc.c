#include "tzc.h"

#include "panic.h"
#include "registers.h"
#include "sysreg.h"

#define FILTERS 1 /* a bit for each filter unit, of which there is one */
#define GATE_OPEN_STATUS (FILTERS << TZC400_GATE_KEEPER_OPEN_STATUS_SHIFT)
#define SECURE_READ_WRITE (TZC400_REGION_ATTRIBUTES_SECURE_READ_MASK | TZC400_REGION_ATTRIBUTES_SECURE_WRITE_MASK)
#define MAX_POLLS 1000

/* A master's read and write enable in REGION_ID_ACCESS. */
#define READ_WRITE(nsaid) (UINT32_C(0x10001) << (nsaid))
#define DMA_MASTERS (READ_WRITE(NSAID_STORAGE) | READ_WRITE(NSAID_NPU0) | READ_WRITE(NSAID_NPU1) | READ_WRITE(NSAID_NPU2))

static void write_region(unsigned region, uint64_t base, uint64_t end, uint32_t attributes, uint32_t id_access)
{
	uint64_t top = end - 1;

	device_write(TZASC_BASE + TZC400_REGION_BASE_LOW(region), (uint32_t)base);
	device_write(TZASC_BASE + TZC400_REGION_BASE_HIGH(region), (uint32_t)(base >> 32));
	device_write(TZASC_BASE + TZC400_REGION_TOP_LOW(region), (uint32_t)top);
	device_write(TZASC_BASE + TZC400_REGION_TOP_HIGH(region), (uint32_t)(top >> 32));
	device_write(TZASC_BASE + TZC400_REGION_ID_ACCESS(region), id_access);
	device_write(TZASC_BASE + TZC400_REGION_ATTRIBUTES(region), attributes);
}

static void move_gate(uint32_t request, uint32_t status)
{
	device_write(TZASC_BASE + TZC400_GATE_KEEPER, request);
	for (unsigned polls = 0; polls < MAX_POLLS; polls++) {
		if ((device_read(TZASC_BASE + TZC400_GATE_KEEPER) & GATE_OPEN_STATUS) == status) {
			return;
		}
	}
	panic("tzasc: the gatekeeper does not follow its request");
}

/*
 * Nothing outside the three regions, and no secure access to normal memory: a wrong NS bit in a table faults. The order
 * is the controller's: closed, region 0, the regions, the reaction, open (DDI 0504, "Constraints of use").
 */
void tzc_start(const struct dram_layout *layout)
{
	move_gate(0, 0);
	device_write(TZASC_BASE + TZC400_REGION_ID_ACCESS(0), 0);
	device_write(TZASC_BASE + TZC400_REGION_ATTRIBUTES(0), 0);
	write_region(1, DRAM_BASE, layout->normal_end, FILTERS, READ_WRITE(NSAID_CPU) | DMA_MASTERS);
	write_region(2, layout->normal_end, layout->secure_base, FILTERS,
		     READ_WRITE(NSAID_CPU) | READ_WRITE(NSAID_SMMU_WALKER));
	write_region(3, layout->secure_base, layout->end, FILTERS | SECURE_READ_WRITE, 0);
	device_write(TZASC_BASE + TZC400_ACTION, TZC400_ACTION_REACTION_BUS_ERROR);
	move_gate(FILTERS, GATE_OPEN_STATUS);
	dsb_system();
}
