#include "mmu.h"

#include "image.h"
#include "panic.h"
#include "sysreg.h"

#define ENTRIES 512
#define LEVEL1_ENTRIES 64 /* of 1 GiB: 36 bits */
#define SRAM_BLOCK 0x0e000000
#define GIC_BLOCK 0x08000000 /* the 2 MiB of the GIC */
#define UART_BLOCK 0x09000000 /* the 2 MiB of UART1 and the SMMU */
#define FILTER_BLOCK 0x0a000000 /* the 2 MiB of TZASC, TZPC and the trusted block */

/* VMSAv8-64 stage-1 descriptors of a regime with one privilege level (Arm ARM D8.3). */
#define DESCRIPTOR_TABLE 3
#define DESCRIPTOR_PAGE 3
#define DESCRIPTOR_BLOCK 1
#define ATTRIBUTES(index) ((uint64_t)(index) << 2)
#define NON_SECURE (UINT64_C(1) << 5)
#define AP_RES1 (UINT64_C(1) << 6)
#define READ_ONLY (UINT64_C(1) << 7)
#define INNER_SHAREABLE (UINT64_C(3) << 8)
#define ACCESS_FLAG (UINT64_C(1) << 10)
#define EXECUTE_NEVER (UINT64_C(1) << 54)

#define NORMAL_MEMORY (ATTRIBUTES(ATTRIBUTE_NORMAL) | AP_RES1 | INNER_SHAREABLE | ACCESS_FLAG)
#define DEVICE_MEMORY (ATTRIBUTES(ATTRIBUTE_DEVICE) | AP_RES1 | ACCESS_FLAG | EXECUTE_NEVER)

#define TCR_T0SZ (64 - 36)
#define TCR_WALKS_CACHED (1 << 8 | 1 << 10) /* IRGN0, ORGN0: write-back, allocating */
#define TCR_SHARED (3 << 12)
#define TCR_PS_36_BITS (1 << 16)
#define TCR_RES1 (UINT64_C(1) << 31 | 1 << 23)

typedef uint64_t table[ENTRIES];

static uint64_t level1[LEVEL1_ENTRIES] __attribute__((aligned(512)));
static table low_level2 __attribute__((aligned(PAGE_SIZE)));
static table sram_level3 __attribute__((aligned(PAGE_SIZE)));
static table gic_level3 __attribute__((aligned(PAGE_SIZE)));
static table uart_level3 __attribute__((aligned(PAGE_SIZE)));
static table filter_level3 __attribute__((aligned(PAGE_SIZE)));
static table npu_level3 __attribute__((aligned(PAGE_SIZE)));
static table dram_level2[2] __attribute__((aligned(PAGE_SIZE))); /* secure DRAM begins in one GiB, may end in the next */

static uint64_t link_to(const uint64_t *next)
{
	return (uint64_t)next | DESCRIPTOR_TABLE;
}

static void map_pages(uint64_t *level3, uint64_t start, uint64_t end, uint64_t attributes)
{
	for (uint64_t page = start; page < end; page += PAGE_SIZE) {
		level3[page % BLOCK_SIZE / PAGE_SIZE] = page | attributes | DESCRIPTOR_PAGE;
	}
}

static void map_image(void)
{
	map_pages(sram_level3, (uint64_t)__image_start, (uint64_t)__text_end, NORMAL_MEMORY | READ_ONLY);
	map_pages(sram_level3, (uint64_t)__text_end, (uint64_t)__rodata_end,
		  NORMAL_MEMORY | READ_ONLY | EXECUTE_NEVER);
	map_pages(sram_level3, (uint64_t)__rodata_end, (uint64_t)__bss_end, NORMAL_MEMORY | EXECUTE_NEVER);
	map_pages(sram_level3, (uint64_t)__stack_start, (uint64_t)__stack_end, NORMAL_MEMORY | EXECUTE_NEVER);
	map_pages(sram_level3, (uint64_t)__panic_stack_start, (uint64_t)__panic_stack_end,
		  NORMAL_MEMORY | EXECUTE_NEVER);
}

static void map_devices(void)
{
	map_pages(gic_level3, GICD_BASE, GICD_BASE + GICD_SIZE, DEVICE_MEMORY);
	map_pages(gic_level3, GICC_BASE, GICC_BASE + GICC_SIZE, DEVICE_MEMORY);
	map_pages(uart_level3, UART1_BASE, UART1_BASE + UART1_SIZE, DEVICE_MEMORY);
	map_pages(uart_level3, SMMU_BASE, SMMU_BASE + SMMU_SIZE, DEVICE_MEMORY);
	map_pages(filter_level3, TZASC_BASE, TZASC_BASE + TZASC_SIZE, DEVICE_MEMORY);
	map_pages(filter_level3, TZPC_BASE, TZPC_BASE + TZPC_SIZE, DEVICE_MEMORY);
	map_pages(filter_level3, TRUSTED_BASE, TRUSTED_BASE + TRUSTED_SIZE, DEVICE_MEMORY);
	map_pages(npu_level3, NPU_CONTROL_BASE, NPU_CONTROL_BASE + NPU_CONTROL_SIZE, DEVICE_MEMORY | NON_SECURE);
}

/* Flex-Mem and the carve-out are TrustZone-normal memory: a secure access to them is refused by the TZASC. */
static uint64_t dram_attributes(const struct dram_layout *layout, uint64_t address)
{
	return NORMAL_MEMORY | EXECUTE_NEVER | (address < layout->secure_base ? NON_SECURE : 0);
}

static void map_dram(const struct dram_layout *layout)
{
	unsigned tables = 0;

	for (uint64_t gib = DRAM_BASE; gib < layout->end; gib += GIB) {
		if (gib + GIB <= layout->secure_base) {
			level1[gib / GIB] = gib | dram_attributes(layout, gib) | DESCRIPTOR_BLOCK;
			continue;
		}
		for (uint64_t block = gib; block < gib + GIB && block < layout->end; block += BLOCK_SIZE) {
			dram_level2[tables][block % GIB / BLOCK_SIZE] =
				block | dram_attributes(layout, block) | DESCRIPTOR_BLOCK;
		}
		level1[gib / GIB] = link_to(dram_level2[tables++]);
	}
}

void mmu_start(const struct dram_layout *layout)
{
	map_image();
	map_devices();
	map_dram(layout);
	low_level2[SRAM_BLOCK / BLOCK_SIZE] = link_to(sram_level3);
	low_level2[GIC_BLOCK / BLOCK_SIZE] = link_to(gic_level3);
	low_level2[UART_BLOCK / BLOCK_SIZE] = link_to(uart_level3);
	low_level2[FILTER_BLOCK / BLOCK_SIZE] = link_to(filter_level3);
	low_level2[NPU_CONTROL_BASE / BLOCK_SIZE] = link_to(npu_level3);
	level1[0] = link_to(low_level2);

	WRITE_SYSREG(mair_el3, MAIR_VALUE);
	WRITE_SYSREG(tcr_el3, TCR_T0SZ | TCR_WALKS_CACHED | TCR_SHARED | TCR_PS_36_BITS | TCR_RES1);
	WRITE_SYSREG(ttbr0_el3, (uint64_t)level1);
	__asm__ volatile("tlbi alle3" : : : "memory");
	dsb();
	isb();
	WRITE_SYSREG(sctlr_el3, SCTLR_EL3_RES1 | SCTLR_M | SCTLR_C | SCTLR_SA | SCTLR_I | SCTLR_WXN);
	isb();
}
