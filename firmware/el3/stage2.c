#include "stage2.h"

#include "carve_out.h"
#include "sysreg.h"

#define ENTRIES 512

/* VMSAv8-64 stage-2 descriptors (Arm ARM D8.3). */
#define TABLE 3
#define PAGE 3
#define DEVICE_NGNRE (1 << 2)
#define NORMAL_WRITE_BACK (0xf << 2)
#define READ_WRITE (3 << 6)
#define INNER_SHAREABLE (3 << 8)
#define ACCESS_FLAG (1 << 10)
#define EXECUTE_NEVER (UINT64_C(1) << 54)

#define DRAM_PAGE (PAGE | NORMAL_WRITE_BACK | READ_WRITE | INNER_SHAREABLE | ACCESS_FLAG)
#define DEVICE_PAGE (PAGE | DEVICE_NGNRE | READ_WRITE | ACCESS_FLAG | EXECUTE_NEVER)

#define VTCR_RES1 (UINT64_C(1) << 31)
#define VTCR_VALUE                                                                                                     \
	(VTCR_RES1 | STAGE2_PS_36_BITS << 16 | STAGE2_SHARED << 12 | STAGE2_CACHED << 10 | STAGE2_CACHED << 8 |        \
	 STAGE2_SL0_LEVEL1 << 6 | STAGE2_T0SZ)
#define VTTBR_VMID_SHIFT 48

static volatile uint64_t *dram_level3; /* volatile: walkers read it while we write */

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

static void map_devices(uint64_t carve_out, uint64_t *root)
{
	uint64_t *level2 = (uint64_t *)(carve_out + CARVE_OUT_DEVICE_LEVEL2);
	uint64_t *uart_level3 = (uint64_t *)(carve_out + CARVE_OUT_DEVICE_LEVEL3);
	uint64_t *storage_level3 = uart_level3 + ENTRIES;

	clear(level2);
	clear(uart_level3);
	clear(storage_level3);
	map_device(level2, uart_level3, UART0_BASE);
	map_device(level2, storage_level3, STORAGE_BASE);
	root[0] = (uint64_t)level2 | TABLE;
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
	map_devices(carve_out, normal_root);

	WRITE_SYSREG(vtcr_el2, VTCR_VALUE);
	WRITE_SYSREG(vttbr_el2, (uint64_t)normal_root | UINT64_C(VMID_NORMAL) << VTTBR_VMID_SHIFT);
	stage2_invalidate();
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
 * normal world's VMID at all times.
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
