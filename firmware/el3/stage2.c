#include "stage2.h"

#include "monitor_memory.h"
#include "sysreg.h"

#define ENTRIES 512
#define TABLE STAGE2_TABLE
#define DRAM_PAGE STAGE2_DRAM_PAGE
#define DEVICE_PAGE (STAGE2_PAGE | 1 << 2 | STAGE2_READ_WRITE | STAGE2_ACCESS_FLAG | UINT64_C(1) << 54) /* nGnRE, XN */

#define VTCR_RES1 (UINT64_C(1) << 31)
#define VTCR_VALUE                                                                                                     \
	(VTCR_RES1 | STAGE2_PS_36_BITS << 16 | STAGE2_SHARED << 12 | STAGE2_CACHED << 10 | STAGE2_CACHED << 8 |        \
	 STAGE2_SL0_LEVEL1 << 6 | STAGE2_T0SZ)
#define VTTBR_VMID_SHIFT 48

static volatile uint64_t *dram_level3; /* volatile: walkers read it while we write */

/* A table of the core's: what VTTBR_EL2 holds for it, and its link to the NPU's windows or 0. */
struct view {
	uint64_t vttbr;
	volatile uint64_t *npu_link;
};

static struct view normal, driver;
static uint64_t npu_windows;

static void clear(uint64_t *table)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		table[i] = 0;
	}
}

static void map_device(uint64_t *level2, uint64_t *level3, uint64_t device)
{
	level2[device % GIB / BLOCK_SIZE] = (uint64_t)level3 | TABLE;
	level3[device % BLOCK_SIZE / PAGE_SIZE] = device | DEVICE_PAGE;
}

/* One level 3 table: whoever links to its 2 MiB reaches every register of the NPU, nobody else any. */
static void map_npu_windows(uint64_t carve_out)
{
	static const struct {
		uint64_t base, size;
	} windows[] = {
		{NPU0_BASE, NPU0_SIZE},
		{NPU1_BASE, NPU1_SIZE},
		{NPU2_BASE, NPU2_SIZE},
		{NPU_CONTROL_BASE, NPU_CONTROL_SIZE},
	};
	uint64_t *level3 = (uint64_t *)(carve_out + CARVE_OUT_NPU_WINDOWS);

	clear(level3);
	for (unsigned i = 0; i < sizeof windows / sizeof windows[0]; i++) {
		for (uint64_t page = windows[i].base; page < windows[i].base + windows[i].size; page += PAGE_SIZE) {
			level3[page % BLOCK_SIZE / PAGE_SIZE] = page | DEVICE_PAGE;
		}
	}
	npu_windows = (uint64_t)level3 | TABLE;
}

static void map_devices(uint64_t carve_out, uint64_t *root)
{
	uint64_t *level2 = (uint64_t *)(carve_out + CARVE_OUT_DEVICE_LEVEL2);
	uint64_t *uart_level3 = (uint64_t *)(carve_out + CARVE_OUT_DEVICE_LEVEL3);
	uint64_t *storage_level3 = uart_level3 + ENTRIES;
	uint64_t *gic_level3 = storage_level3 + ENTRIES;

	clear(level2);
	clear(uart_level3);
	clear(storage_level3);
	clear(gic_level3);
	map_device(level2, uart_level3, UART0_BASE);
	map_device(level2, storage_level3, STORAGE_BASE);
	for (uint64_t page = GICD_BASE; page < GICC_BASE + GICC_SIZE; page += PAGE_SIZE) {
		map_device(level2, gic_level3, page);
	}
	root[0] = (uint64_t)level2 | TABLE;
	normal.npu_link = &level2[NPU_CONTROL_BASE / BLOCK_SIZE];
	*normal.npu_link = npu_windows;
}

/* The driver context's whole world: its own memory, and the NPU's windows while the NPU is secure. */
static void write_driver_table(uint64_t carve_out, const struct dram_layout *layout)
{
	uint64_t *root = (uint64_t *)(carve_out + CARVE_OUT_DRIVER_ROOT);
	uint64_t *devices = (uint64_t *)(carve_out + CARVE_OUT_DRIVER_DEVICES);
	uint64_t *level2 = (uint64_t *)(carve_out + CARVE_OUT_DRIVER_LEVEL2);
	uint64_t *level3 = (uint64_t *)(carve_out + CARVE_OUT_DRIVER_LEVEL3);
	uint64_t base = layout->driver_base;

	clear(root);
	clear(devices);
	clear(level2);
	clear(level3);
	for (uint64_t page = base; page < base + DRIVER_BYTES; page += PAGE_SIZE) {
		level3[page % BLOCK_SIZE / PAGE_SIZE] = page | DRAM_PAGE;
	}
	level2[base % GIB / BLOCK_SIZE] = (uint64_t)level3 | TABLE;
	root[base / GIB] = (uint64_t)level2 | TABLE;
	root[0] = (uint64_t)devices | TABLE;
	driver.npu_link = &devices[NPU_CONTROL_BASE / BLOCK_SIZE];
	driver.vttbr = (uint64_t)root | UINT64_C(VMID_DRIVER) << VTTBR_VMID_SHIFT;
}

/* Every 2 MiB of normal DRAM links to its 512 entries of the one level 3 array. */
static void link_dram(uint64_t carve_out, const struct dram_layout *layout)
{
	uint64_t *level2 = (uint64_t *)(carve_out + CARVE_OUT_DRAM_LEVEL2);
	uint64_t blocks = (layout->normal_end - DRAM_BASE) / BLOCK_SIZE;

	for (uint64_t block = 0; block < (blocks + ENTRIES - 1) / ENTRIES * ENTRIES; block++) {
		level2[block] = block < blocks ? ((uint64_t)dram_level3 + block * PAGE_SIZE) | TABLE : 0;
	}
}

static void write_root(uint64_t *root, const uint64_t *dram_level2, const struct dram_layout *layout)
{
	clear(root);
	for (uint64_t gib = DRAM_BASE; gib < layout->normal_end; gib += GIB) {
		root[gib / GIB] = (uint64_t)dram_level2 + (gib - DRAM_BASE) / GIB * PAGE_SIZE + TABLE;
	}
}

void stage2_start(const struct dram_layout *layout)
{
	uint64_t carve_out = layout->normal_end;
	uint64_t *normal_root = (uint64_t *)(carve_out + CARVE_OUT_NORMAL_ROOT);
	const uint64_t *dram_level2 = (const uint64_t *)(carve_out + CARVE_OUT_DRAM_LEVEL2);

	dram_level3 = (volatile uint64_t *)(carve_out + CARVE_OUT_DRAM_LEVEL3);
	for (uint64_t page = 0; page < ownership_normal_pages(); page++) {
		dram_level3[page] = page_address(page) | DRAM_PAGE;
	}
	link_dram(carve_out, layout);
	write_root(normal_root, dram_level2, layout);
	write_root((uint64_t *)(carve_out + CARVE_OUT_STORAGE_ROOT), dram_level2, layout);
	map_npu_windows(carve_out);
	map_devices(carve_out, normal_root);
	write_driver_table(carve_out, layout);
	normal.vttbr = (uint64_t)normal_root | UINT64_C(VMID_NORMAL) << VTTBR_VMID_SHIFT;

	WRITE_SYSREG(vtcr_el2, VTCR_VALUE);
	WRITE_SYSREG(vttbr_el2, driver.vttbr);
	stage2_invalidate();
	WRITE_SYSREG(vttbr_el2, normal.vttbr);
	stage2_invalidate();
}

void stage2_enter_driver(void)
{
	WRITE_SYSREG(cnthctl_el2, CNTHCTL_EL1_COUNTER);
	WRITE_SYSREG(vttbr_el2, driver.vttbr);
}

void stage2_leave_driver(void)
{
	WRITE_SYSREG(cnthctl_el2, CNTHCTL_EL1_COUNTER_AND_TIMER);
	WRITE_SYSREG(vttbr_el2, normal.vttbr);
}

void stage2_move_npu(enum npu_view to)
{
	if (to != NPU_IN_NORMAL && *normal.npu_link) {
		*normal.npu_link = 0;
		stage2_invalidate();
	}
	if (to != NPU_IN_DRIVER && *driver.npu_link) {
		*driver.npu_link = 0;
		stage2_enter_driver();
		stage2_invalidate();
		stage2_leave_driver();
	}
	if (to != NPU_IN_NEITHER) {
		*(to == NPU_IN_NORMAL ? normal : driver).npu_link = npu_windows;
		dsb();
	}
}

void stage2_map(const struct extent *extent)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		dram_level3[page] = page_address(page) | DRAM_PAGE;
	}
	dsb();
}

void stage2_unmap(const struct extent *extent)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		dram_level3[page] = 0;
	}
}

/*
 * From EL3 the TLBI reaches the regime that SCR_EL3.NS names, and LOCK comes from the secure world. VTTBR_EL2 holds the
 * normal world's VMID at all times but while the driver context runs.
 */
void stage2_invalidate(void)
{
	uint64_t scr = READ_SYSREG(scr_el3);

	WRITE_SYSREG(scr_el3, scr | SCR_NS);
	isb();
	dsb();
	__asm__ volatile("tlbi vmalls12e1is" : : : "memory");
	dsb();
	isb();
	WRITE_SYSREG(scr_el3, scr);
	isb();
}
