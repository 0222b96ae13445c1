/*
 * The monitor's boot: self-check, protection, tables. Then the driver context boots, until DRIVER_READY, then the secure
 * world, until SECURE_READY, then the normal one.
 */
#include "context.h"
#include "cpu.h"
#include "deadline.h"
#include "gic.h"
#include "image.h"
#include "memory_map.h"
#include "mmu.h"
#include "monitor_memory.h"
#include "npu_tables.h"
#include "ownership.h"
#include "panic.h"
#include "registers.h"
#include "smmu.h"
#include "stage2.h"
#include "tzc.h"
#include "tzpc.h"
#include "uart.h"

struct context contexts[CONTEXTS] __attribute__((aligned(16)));

/* Called by boot.S; returning enters the driver context, which boots first. */
void monitor_boot(uint64_t secure_entry, uint64_t normal_entry, uint64_t driver_entry);

static struct dram_layout read_layout(void)
{
	uint64_t pages = device_read(TRUSTED_BASE + TRUSTED_DRAM_PAGES);

	if (pages < DRAM_MIN / PAGE_SIZE || pages > DRAM_MAX / PAGE_SIZE || pages % (BLOCK_SIZE / PAGE_SIZE)) {
		panic("boot: DRAM is not 64 MiB to 16 GiB in steps of 2 MiB");
	}
	return dram_layout(pages);
}

static void install_el2_stub(const struct dram_layout *layout)
{
	volatile uint64_t *target = (volatile uint64_t *)(layout->normal_end + CARVE_OUT_EL2_STUB);
	const uint64_t *source = (const uint64_t *)el2_stub_start;

	for (uint64_t i = 0; i < (uint64_t)(el2_stub_end - el2_stub_start) / sizeof *source; i++) {
		target[i] = source[i];
	}
	dsb_system(); /* EL2 runs with its MMU off: past the caches */
	__asm__ volatile("ic iallu" : : : "memory");
	dsb_system();
	isb();
	WRITE_SYSREG(vbar_el2, layout->normal_end + CARVE_OUT_EL2_STUB);
}

/* A world starts at EL1 with its MMU off: x0, x1 = bounds of its memory, x2 = its number. */
static void prepare(enum world world, uint64_t scr, uint64_t mdcr, uint64_t entry, uint64_t base, uint64_t end)
{
	struct context *context = &contexts[world];

	context->x[0] = base;
	context->x[1] = end;
	context->x[2] = world;
	context->elr = entry;
	context->spsr = SPSR_EL1H_MASKED;
	context->scr = scr;
	context->mdcr = mdcr;
	context->el1[0] = SCTLR_EL1_RES1;
}

static void greet(const struct dram_layout *layout)
{
	uart_text("monitor: Flex-Monitor ");
	uart_decimal(FLEX_VERSION_MAJOR);
	uart_text(".");
	uart_decimal(FLEX_VERSION_MINOR);
	uart_text(", ");
	uart_decimal(layout->pages);
	uart_text(" pages of DRAM, ");
	uart_decimal(ownership_normal_pages());
	uart_text(" of them normal\n");
}

void monitor_boot(uint64_t secure_entry, uint64_t normal_entry, uint64_t driver_entry)
{
	struct dram_layout layout;

	cpu_check();
	cpu_configure();
	uart_start();
	layout = read_layout();
	mmu_start(&layout);
	tzpc_start();
	tzc_start(&layout);
	deadline_none(); /* a reset leaves the timer as it likes (Arm ARM, CNTPS_CTL_EL1) */
	gic_start();
	ownership_start(&layout);
	stage2_start(&layout);
	npu_tables_start(&layout);
	smmu_start(&layout);
	install_el2_stub(&layout);
	greet(&layout);
	prepare(WORLD_DRIVER, SCR_DRIVER_CONTEXT, MDCR_ALL_TRAPPED, driver_entry, layout.driver_base,
		layout.driver_base + DRIVER_BYTES);
	prepare(WORLD_SECURE, SCR_SECURE_WORLD, MDCR_ALL_TRAPPED, secure_entry, layout.secure_base, layout.secure_end);
	prepare(WORLD_NORMAL, SCR_NORMAL_WORLD, MDCR_NORMAL_WORLD, normal_entry, DRAM_BASE, layout.normal_end);
	world_enter(&contexts[WORLD_DRIVER]);
	stage2_enter_driver();
}
