/*
 * The virtual CPU interface (IHI 0048B, chapter 5): a hypervisor writes virtual interrupts into list registers, and its guest
 * acknowledges and ends them as it would physical ones on a GIC without Security Extensions. The registers are in
 * gic_virtual_registers.c.
 */
#include "machine.h"

#define HCR_ENABLE (1u << 0)
#define HCR_UNDERFLOW (1u << 1)
#define HCR_NOT_PRESENT (1u << 2)
#define HCR_NO_PENDING (1u << 3)
#define HCR_GROUPS_SHIFT 4 /* VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE; the same places in MISR */
#define HCR_EOI_COUNT (31u << 27)
#define HCR_EOI_COUNT_ONE (1u << 27)
#define MISR_EOI (1u << 0)

#define LR_ID 0x3ff
#define LR_PHYSICAL_SHIFT 10
#define LR_CPU_SHIFT 10
#define LR_EOI (1u << 19)
#define LR_PRIORITY_SHIFT 23
#define LR_PENDING (1u << 28)
#define LR_ACTIVE (1u << 29)
#define LR_GROUP1 (1u << 30)
#define LR_HARDWARE (1u << 31)
#define LR_STATE (LR_PENDING | LR_ACTIVE)

#define MAINTENANCE 25
#define NONE GIC_LIST_REGISTERS

static unsigned priority_of(uint32_t entry)
{
	return (entry >> LR_PRIORITY_SHIFT & 0x1f) << 3;
}

static unsigned group_priority(const struct gic_virtual *virtual, uint32_t entry)
{
	bool own = entry & LR_GROUP1 && !(virtual->control & GICC_CBPR);
	unsigned point = own ? virtual->binary_point[1] - 1 : virtual->binary_point[0];

	return priority_of(entry) & ~0u << (point + 1);
}

unsigned gic_virtual_running_priority(const struct gic_virtual *virtual)
{
	return virtual->active ? (unsigned)__builtin_ctz(virtual->active) << 3 : GIC_IDLE;
}

/* The list register of an active interrupt; NONE: there is none. */
static unsigned find_active(const struct gic_virtual *virtual, unsigned id)
{
	unsigned i = 0;

	while (i < NONE && !((virtual->list[i] & LR_ID) == id && virtual->list[i] & LR_ACTIVE)) {
		i++;
	}
	return i;
}

static unsigned best_pending(const struct gic_virtual *virtual)
{
	unsigned best = NONE;
	unsigned priority = GIC_IDLE;

	for (unsigned i = 0; i < NONE; i++) {
		if ((virtual->list[i] & LR_STATE) == LR_PENDING && priority_of(virtual->list[i]) < priority) {
			best = i;
			priority = priority_of(virtual->list[i]);
		}
	}
	return best;
}

/* --- maintenance ----------------------------------------------------------------------------------------------------- */

static bool has_ended(uint32_t entry)
{
	return !(entry & (LR_STATE | LR_HARDWARE)) && entry & LR_EOI;
}

uint32_t gic_virtual_ended(const struct gic_virtual *virtual)
{
	uint32_t status = 0;

	for (unsigned i = 0; i < NONE; i++) {
		status |= (uint32_t)has_ended(virtual->list[i]) << i;
	}
	return status;
}

uint32_t gic_virtual_empty(const struct gic_virtual *virtual)
{
	uint32_t status = 0;

	for (unsigned i = 0; i < NONE; i++) {
		status |= (uint32_t)(!(virtual->list[i] & LR_STATE) && !has_ended(virtual->list[i])) << i;
	}
	return status;
}

uint32_t gic_virtual_maintenance(const struct gic_virtual *virtual)
{
	unsigned valid = 0;
	unsigned pending = 0;
	uint32_t groups = virtual->control & GIC_ENABLE_GROUP0 ? 1 : 2;

	for (unsigned i = 0; i < NONE; i++) {
		valid += (virtual->list[i] & LR_STATE) != 0;
		pending += (virtual->list[i] & LR_STATE) == LR_PENDING;
	}
	groups |= virtual->control & GIC_ENABLE_GROUP1 ? 4 : 8;
	return (gic_virtual_ended(virtual) ? MISR_EOI : 0) | (virtual->hcr & groups << HCR_GROUPS_SHIFT) |
	       (valid < 2 ? virtual->hcr & HCR_UNDERFLOW : 0) |
	       (virtual->hcr & HCR_EOI_COUNT ? virtual->hcr & HCR_NOT_PRESENT : 0) |
	       (pending == 0 ? virtual->hcr & HCR_NO_PENDING : 0);
}

/* --- signalling ---------------------------------------------------------------------------------------------------------- */

void gic_virtual_update(struct machine *machine)
{
	struct gic_virtual *virtual = &machine->gic.virtual;
	bool on = virtual->hcr & HCR_ENABLE && virtual->control & (GIC_ENABLE_GROUP0 | GIC_ENABLE_GROUP1);
	unsigned best = on ? best_pending(virtual) : NONE;
	bool irq = false;
	bool fiq = false;

	virtual->candidate = NONE;
	if (best != NONE && priority_of(virtual->list[best]) < virtual->priority_mask) {
		uint32_t entry = virtual->list[best];
		bool preempts = priority_of(entry) < gic_virtual_running_priority(virtual);
		bool signalled = preempts && virtual->control & (entry & LR_GROUP1 ? GIC_ENABLE_GROUP1 : GIC_ENABLE_GROUP0);

		virtual->candidate = best;
		fiq = signalled && !(entry & LR_GROUP1) && virtual->control & GICC_FIQ_ENABLE;
		irq = signalled && !fiq;
	}
	core_set_line(machine, LINE_VIRTUAL_IRQ, irq);
	core_set_line(machine, LINE_VIRTUAL_FIQ, fiq);
	gic_set_level(machine, MAINTENANCE, virtual->hcr & HCR_ENABLE && gic_virtual_maintenance(virtual));
}

void gic_virtual_reset(struct gic_virtual *virtual)
{
	*virtual = (struct gic_virtual){.binary_point = {GIC_VIRTUAL_LEAST_POINT, GIC_VIRTUAL_LEAST_POINT + 1}, .candidate = NONE};
}

/* --- acknowledging and ending -------------------------------------------------------------------------------------------- */

/* A group 1 interrupt is seen through the group 0 registers only with AckCtl, and through the aliases always. */
unsigned gic_virtual_highest_pending(const struct gic_virtual *virtual, bool alias)
{
	uint32_t entry = virtual->candidate == NONE ? 0 : virtual->list[virtual->candidate];

	if (virtual->candidate == NONE || (alias && !(entry & LR_GROUP1))) {
		return GIC_SPURIOUS;
	}
	if (!alias && entry & LR_GROUP1 && !(virtual->control & GICC_ACK_CTL)) {
		return GIC_HIDDEN;
	}
	return entry & LR_ID;
}

unsigned gic_virtual_acknowledge(struct machine *machine, bool alias)
{
	struct gic_virtual *virtual = &machine->gic.virtual;
	unsigned id = gic_virtual_highest_pending(virtual, alias);
	uint32_t *entry = &virtual->list[virtual->candidate];

	if (id >= GIC_HIDDEN) {
		return id;
	}
	if (priority_of(*entry) >= gic_virtual_running_priority(virtual)) {
		return GIC_SPURIOUS;
	}
	virtual->active |= 1u << (group_priority(virtual, *entry) >> 3);
	*entry = (*entry & ~LR_PENDING) | LR_ACTIVE;
	if (id < GIC_SGIS && !(*entry & LR_HARDWARE)) {
		id |= (*entry >> LR_CPU_SHIFT & 7) << 10;
	}
	gic_virtual_update(machine);
	return id;
}

/* With the virtual interrupt, the physical one behind it ends, if Non-secure software could end it. */
void gic_virtual_deactivate(struct gic *gic, unsigned id)
{
	struct gic_virtual *virtual = &gic->virtual;
	unsigned index = find_active(virtual, id);
	uint32_t *entry = &virtual->list[index];
	unsigned physical = *entry >> LR_PHYSICAL_SHIFT & 0x3ff;

	if (index == NONE) {
		virtual->hcr += HCR_EOI_COUNT_ONE; /* the hypervisor keeps that one elsewhere */
		return;
	}
	*entry &= ~LR_ACTIVE;
	if (*entry & LR_HARDWARE && physical >= GIC_SGIS && physical < GIC_INTERRUPTS &&
	    !gic_is_hidden(&gic->interrupt[physical], false)) {
		gic->interrupt[physical].active = false;
	}
}

void gic_virtual_end(struct gic *gic, unsigned id)
{
	struct gic_virtual *virtual = &gic->virtual;
	bool running = virtual->active != 0;

	virtual->active &= virtual->active - running;
	if (!(virtual->control & GICC_EOI_MODE) && (running || find_active(virtual, id) != NONE)) {
		gic_virtual_deactivate(gic, id);
	}
}
