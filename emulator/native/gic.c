/*
 * The GIC's life of an interrupt: pending, signalled, acknowledged, ended (IHI 0048B, chapter 3). Its registers are in
 * gic_distributor.c and gic_interface.c.
 */
#include <string.h>

#include "machine.h"

void gic_attach(struct machine *machine)
{
	struct gic *gic = &machine->gic;

	memset(gic, 0, sizeof *gic);
	gic->present = true;
	gic->candidate = GIC_SPURIOUS;
	gic->binary_point[1] = 1;
	gic_virtual_reset(&gic->virtual);
	for (unsigned i = 0; i < GIC_SGIS; i++) {
		gic->interrupt[i].enabled = gic->interrupt[i].edge = true;
	}
}

bool gic_is_pending(const struct gic_interrupt *interrupt)
{
	return interrupt->latched || (interrupt->level && !interrupt->edge);
}

bool gic_is_hidden(const struct gic_interrupt *interrupt, bool secure)
{
	return !secure && !interrupt->group1;
}

uint32_t gic_normal_priority(uint32_t priority)
{
	return priority & 0x80 ? priority << 1 & 0xff : 0;
}

/* --- priorities ------------------------------------------------------------------------------------------------------ */

/* The part of a priority that decides about preemption (3.3.3, GICC_BPR). */
static uint32_t group_priority(const struct gic *gic, const struct gic_interrupt *interrupt)
{
	bool own = interrupt->group1 && !(gic->control & GICC_CBPR);
	unsigned point = own ? gic->binary_point[1] - 1 : gic->binary_point[0];

	return interrupt->priority & ~UINT32_C(0) << (point + 1);
}

unsigned gic_running_priority(const struct gic *gic)
{
	for (unsigned i = 0; i < GIC_ACTIVE_WORDS; i++) {
		uint32_t active = gic->active[0][i] | gic->active[1][i];

		if (active) {
			return (i * 32 + (unsigned)__builtin_ctz(active)) << 1;
		}
	}
	return GIC_IDLE;
}

static void raise_priority(struct gic *gic, const struct gic_interrupt *interrupt)
{
	unsigned place = group_priority(gic, interrupt) >> 1;

	gic->active[interrupt->group1][place / 32] |= UINT32_C(1) << place % 32;
}

/* Activations nest: the highest active priority of the group is the last one's. */
static void drop_priority(struct gic *gic, bool group1)
{
	for (unsigned i = 0; i < GIC_ACTIVE_WORDS; i++) {
		uint32_t *active = &gic->active[group1][i];

		if (*active) {
			*active &= *active - 1;
			return;
		}
	}
}

/* --- signalling --------------------------------------------------------------------------------------------------------- */

/* The first of the highest priority. The distributor's targets are the one core there is. */
static unsigned best_pending(const struct gic *gic)
{
	unsigned best = GIC_SPURIOUS;
	unsigned priority = GIC_IDLE;

	for (unsigned i = 0; i < GIC_INTERRUPTS; i++) {
		const struct gic_interrupt *interrupt = &gic->interrupt[i];

		if (interrupt->enabled && !interrupt->active && interrupt->priority < priority && gic_is_pending(interrupt)) {
			best = i;
			priority = interrupt->priority;
		}
	}
	return best;
}

void gic_update(struct machine *machine)
{
	struct gic *gic = &machine->gic;
	uint32_t enabled = gic->distributor_control & gic->control;
	bool any_enabled = gic->distributor_control && gic->control & (GIC_ENABLE_GROUP0 | GIC_ENABLE_GROUP1);
	unsigned best = any_enabled ? best_pending(gic) : GIC_SPURIOUS;
	bool irq = false;
	bool fiq = false;

	gic->candidate = GIC_SPURIOUS;
	if (best != GIC_SPURIOUS && gic->interrupt[best].priority < gic->priority_mask) {
		const struct gic_interrupt *interrupt = &gic->interrupt[best];
		bool preempts = interrupt->priority < gic_running_priority(gic);
		bool signalled = preempts && enabled & (interrupt->group1 ? GIC_ENABLE_GROUP1 : GIC_ENABLE_GROUP0);

		gic->candidate = best;
		fiq = signalled && !interrupt->group1 && gic->control & GICC_FIQ_ENABLE;
		irq = signalled && !fiq;
	}
	core_set_line(machine, LINE_IRQ, irq);
	core_set_line(machine, LINE_FIQ, fiq);
}

void gic_set_level(struct machine *machine, unsigned id, bool level)
{
	struct gic *gic = &machine->gic;
	struct gic_interrupt *interrupt;

	if (!gic->present || id < GIC_SGIS || id >= GIC_INTERRUPTS || gic->interrupt[id].level == level) {
		return;
	}
	interrupt = &gic->interrupt[id];
	interrupt->level = level;
	interrupt->latched = interrupt->latched || (level && interrupt->edge);
	gic_update(machine);
}

/* --- acknowledging and ending -------------------------------------------------------------------------------------------- */

unsigned gic_highest_pending(const struct gic *gic, bool secure)
{
	if (gic->candidate == GIC_SPURIOUS) {
		return GIC_SPURIOUS;
	}
	if (gic_is_hidden(&gic->interrupt[gic->candidate], secure)) {
		return GIC_SPURIOUS;
	}
	if (secure && gic->interrupt[gic->candidate].group1 && !(gic->control & GICC_ACK_CTL)) {
		return GIC_HIDDEN;
	}
	return gic->candidate;
}

unsigned gic_acknowledge(struct machine *machine, bool secure)
{
	struct gic *gic = &machine->gic;
	unsigned id = gic_highest_pending(gic, secure);
	struct gic_interrupt *interrupt;

	if (id >= GIC_INTERRUPTS) {
		return id;
	}
	interrupt = &gic->interrupt[id];
	if (interrupt->priority >= gic_running_priority(gic)) {
		return GIC_SPURIOUS;
	}
	raise_priority(gic, interrupt);
	interrupt->active = true;
	interrupt->latched = false; /* what its input still asserts stays pending */
	gic_update(machine);
	return id;
}

/* GICC_CTLR.EOImode: whether an end of interrupt only drops the priority. */
static bool is_split(const struct gic *gic, bool secure)
{
	return gic->control & (secure ? GICC_EOI_MODE : GICC_EOI_MODE_NS);
}

/* Ending what was not acknowledged, or out of order, is UNPREDICTABLE: the last activation of its group ends, as on QEMU. */
void gic_end(struct machine *machine, unsigned id, bool secure)
{
	struct gic *gic = &machine->gic;

	if (id >= GIC_INTERRUPTS || gic_running_priority(gic) == GIC_IDLE ||
	    gic_is_hidden(&gic->interrupt[id], secure)) {
		return;
	}
	drop_priority(gic, gic->interrupt[id].group1);
	if (!is_split(gic, secure)) {
		gic->interrupt[id].active = false;
	}
	gic_update(machine);
}

void gic_deactivate(struct machine *machine, unsigned id, bool secure)
{
	struct gic *gic = &machine->gic;

	if (id >= GIC_INTERRUPTS || !is_split(gic, secure) || gic_is_hidden(&gic->interrupt[id], secure)) {
		return;
	}
	gic->interrupt[id].active = false;
	gic_update(machine);
}

/* --- the bus ------------------------------------------------------------------------------------------------------------- */

bool gic_read(struct machine *machine, enum gic_frame frame, uint64_t offset, unsigned size, bool secure, uint32_t *value)
{
	*value = 0;
	switch (frame) {
	case GIC_DISTRIBUTOR:
		return gic_distributor_read(&machine->gic, offset, size, secure, value);
	case GIC_INTERFACE:
		return gic_interface_read(machine, offset, secure, value);
	default:
		return gic_virtual_read(machine, frame, offset, value);
	}
}

bool gic_write(struct machine *machine, enum gic_frame frame, uint64_t offset, unsigned size, bool secure, uint32_t value)
{
	bool known;

	switch (frame) {
	case GIC_DISTRIBUTOR:
		known = gic_distributor_write(&machine->gic, offset, size, secure, value);
		break;
	case GIC_INTERFACE:
		known = gic_interface_write(machine, offset, secure, value);
		break;
	default:
		known = gic_virtual_write(machine, frame, offset, value);
	}
	gic_update(machine);
	return known;
}

void gic_add_frame(struct machine *machine, int device, enum gic_frame frame)
{
	machine->device[device].gic_frame = frame;
}

uint32_t gic_peek(struct machine *machine, enum gic_frame frame, uint64_t offset)
{
	const struct gic gic = machine->gic;
	uint32_t value;

	if ((frame == GIC_INTERFACE || frame == GIC_GUEST) && (offset == GICC_IAR || offset == GICC_AIAR)) {
		offset = offset == GICC_IAR ? GICC_HPPIR : GICC_AHPPIR; /* what an acknowledgement would give */
	}
	gic_read(machine, frame, offset, 4, true, &value);
	machine->gic = gic;
	return value;
}
