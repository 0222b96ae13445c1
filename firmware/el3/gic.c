#include "gic.h"

#include "memory_map.h"
#include "registers.h"
#include "sysreg.h"

#define INTERRUPTS 288
#define SPECIAL 1020 /* numbers from here on name no interrupt (IHI 0048B, 3.2) */
#define LOWEST_PRIORITY 0xff
#define SECURE_PRIORITY 0x40 /* the normal world's writes reach the lower half, from 0x80 on, only */
#define NORMAL_PRIORITY 0xa0

#define SECURE_SGIS UINT32_C(0xff00)
#define BIT(interrupt) (UINT32_C(1) << (interrupt) % 32)

static void write_bit(uint64_t registers, uint32_t interrupt)
{
	device_write(GICD_BASE + registers + interrupt / 32 * 4, BIT(interrupt));
}

static void set_group(uint32_t interrupt, int group1)
{
	uint64_t at = GICD_BASE + GICD_IGROUPR(interrupt / 32);
	uint32_t groups = device_read(at);

	device_write(at, group1 ? groups | BIT(interrupt) : groups & ~BIT(interrupt));
}

/* The priority that it had. */
static uint32_t set_priority(uint32_t interrupt, uint32_t priority)
{
	uint64_t at = GICD_BASE + GICD_IPRIORITYR(interrupt / 4);
	unsigned shift = interrupt % 4 * 8;
	uint32_t priorities = device_read(at);

	device_write(at, (priorities & ~(UINT32_C(0xff) << shift)) | priority << shift);
	return priorities >> shift & 0xff;
}

/*
 * Everything of the normal world's has a priority of the lower half, as if it had set it itself: an interrupt that it
 * leaves active does not keep one of Group 0 from EL3.
 */
void gic_start(void)
{
	for (unsigned i = 0; i < INTERRUPTS / 4; i++) {
		device_write(GICD_BASE + GICD_IPRIORITYR(i), NORMAL_PRIORITY * UINT32_C(0x01010101));
	}
	device_write(GICD_BASE + GICD_IGROUPR(0), ~(SECURE_SGIS | BIT(INTERRUPT_SECURE_TIMER)));
	for (unsigned i = 1; i < INTERRUPTS / 32; i++) {
		device_write(GICD_BASE + GICD_IGROUPR(i), UINT32_MAX);
	}
	set_group(INTERRUPT_UART1, 0);
	set_priority(INTERRUPT_SECURE_TIMER, SECURE_PRIORITY);
	write_bit(GICD_ISENABLER(0), INTERRUPT_SECURE_TIMER);
	device_write(GICD_BASE + GICD_CTLR, GICD_CTLR_ENABLE_GROUP0_MASK);
	device_write(GICC_BASE + GICC_PMR, LOWEST_PRIORITY);
	device_write(GICC_BASE + GICC_CTLR,
		     GICC_CTLR_ENABLE_GROUP0_MASK | GICC_CTLR_FIQ_ENABLE_MASK | GICC_CTLR_EOI_MODE_SECURE_MASK);
	dsb_system();
}

uint32_t gic_acknowledge(void)
{
	return device_read(GICC_BASE + GICC_IAR) & GICC_IAR_ID_MASK;
}

void gic_drop_priority(uint32_t interrupt)
{
	if (interrupt < SPECIAL) {
		device_write(GICC_BASE + GICC_EOIR, interrupt);
	}
}

void gic_deactivate(uint32_t interrupt)
{
	device_write(GICC_BASE + GICC_DIR, interrupt);
	dsb_system();
}

/* Disabled first: nothing of it is signalled half way. */
static void silence(uint32_t interrupt)
{
	write_bit(GICD_ICENABLER(0), interrupt);
	write_bit(GICD_ICPENDR(0), interrupt);
	write_bit(GICD_ICACTIVER(0), interrupt);
}

static int is_enabled(uint32_t interrupt)
{
	return (device_read(GICD_BASE + GICD_ISENABLER(interrupt / 32)) & BIT(interrupt)) != 0;
}

struct gic_settings gic_take(uint32_t interrupt)
{
	struct gic_settings normal = {.enabled = is_enabled(interrupt)};

	silence(interrupt);
	set_group(interrupt, 0);
	normal.priority = set_priority(interrupt, SECURE_PRIORITY);
	write_bit(GICD_ISENABLER(0), interrupt);
	return normal;
}

void gic_give_back(uint32_t interrupt, struct gic_settings settings)
{
	silence(interrupt);
	set_group(interrupt, 1);
	set_priority(interrupt, settings.priority);
	if (settings.enabled) {
		write_bit(GICD_ISENABLER(0), interrupt);
	}
}
