/*
 * The virtual CPU interface (IHI 0048B, chapter 5): a hypervisor writes virtual interrupts into list registers (GICH), and
 * its guest acknowledges and ends them (GICV) as it would physical ones on a GIC without Security Extensions.
 */
#include "machine.h"

/* GICH */
enum { HCR = 0x000, VTR = 0x004, VMCR = 0x008, MISR = 0x010, EISR = 0x020, ELRSR = 0x030, VAPR = 0x0f0, LR = 0x100 };

#define VTR_VALUE (4u << 29 | 4u << 26 | (GIC_LIST_REGISTERS - 1)) /* five bits of priority and preemption */

#define HCR_ENABLE (1u << 0)
#define HCR_UNDERFLOW (1u << 1)
#define HCR_NOT_PRESENT (1u << 2)
#define HCR_NO_PENDING (1u << 3)
#define HCR_GROUPS_SHIFT 4 /* VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE; the same places in MISR */
#define HCR_EOI_COUNT (31u << 27)
#define HCR_EOI_COUNT_ONE (1u << 27)
#define HCR_MASK (HCR_EOI_COUNT | 0xff)
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
#define LR_MASK 0xff8fffffu /* 22:20 are reserved */

#define MAINTENANCE 25
#define NONE GIC_LIST_REGISTERS
#define LEAST_POINT 2 /* of GICV_BPR; GICV_ABPR is one more */
#define CONTROL_MASK 0x21f
#define PRIORITY_MASK 0xf8

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

static unsigned running_priority(const struct gic_virtual *virtual)
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

static uint32_t ended(const struct gic_virtual *virtual)
{
	uint32_t status = 0;

	for (unsigned i = 0; i < NONE; i++) {
		status |= (uint32_t)has_ended(virtual->list[i]) << i;
	}
	return status;
}

static uint32_t empty(const struct gic_virtual *virtual)
{
	uint32_t status = 0;

	for (unsigned i = 0; i < NONE; i++) {
		status |= (uint32_t)(!(virtual->list[i] & LR_STATE) && !has_ended(virtual->list[i])) << i;
	}
	return status;
}

static uint32_t maintenance_status(const struct gic_virtual *virtual)
{
	unsigned valid = 0;
	unsigned pending = 0;
	uint32_t groups = virtual->control & GIC_ENABLE_GROUP0 ? 1 : 2;

	for (unsigned i = 0; i < NONE; i++) {
		valid += (virtual->list[i] & LR_STATE) != 0;
		pending += (virtual->list[i] & LR_STATE) == LR_PENDING;
	}
	groups |= virtual->control & GIC_ENABLE_GROUP1 ? 4 : 8;
	return (ended(virtual) ? MISR_EOI : 0) | (virtual->hcr & groups << HCR_GROUPS_SHIFT) |
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
		bool preempts = priority_of(entry) < running_priority(virtual);
		bool signalled = preempts && virtual->control & (entry & LR_GROUP1 ? GIC_ENABLE_GROUP1 : GIC_ENABLE_GROUP0);

		virtual->candidate = best;
		fiq = signalled && !(entry & LR_GROUP1) && virtual->control & GICC_FIQ_ENABLE;
		irq = signalled && !fiq;
	}
	core_set_line(machine, LINE_VIRTUAL_IRQ, irq);
	core_set_line(machine, LINE_VIRTUAL_FIQ, fiq);
	gic_set_level(machine, MAINTENANCE, virtual->hcr & HCR_ENABLE && maintenance_status(virtual));
}

void gic_virtual_reset(struct gic_virtual *virtual)
{
	*virtual = (struct gic_virtual){.binary_point = {LEAST_POINT, LEAST_POINT + 1}, .candidate = NONE};
}

/* --- the guest's interface (GICV) ------------------------------------------------------------------------------------------ */

/* A group 1 interrupt is seen through the group 0 registers only with AckCtl, and through the aliases always. */
static unsigned highest_pending(const struct gic_virtual *virtual, bool alias)
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

static unsigned acknowledge(struct machine *machine, bool alias)
{
	struct gic_virtual *virtual = &machine->gic.virtual;
	unsigned id = highest_pending(virtual, alias);
	uint32_t *entry = &virtual->list[virtual->candidate];

	if (id >= GIC_HIDDEN) {
		return id;
	}
	if (priority_of(*entry) >= running_priority(virtual)) {
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
static void deactivate(struct gic *gic, unsigned id)
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

static void end(struct gic *gic, unsigned id)
{
	struct gic_virtual *virtual = &gic->virtual;
	bool running = virtual->active != 0;

	virtual->active &= virtual->active - running;
	if (!(virtual->control & GICC_EOI_MODE) && (running || find_active(virtual, id) != NONE)) {
		deactivate(gic, id);
	}
}

static void set_binary_point(struct gic_virtual *virtual, unsigned group, uint32_t value)
{
	uint32_t least = LEAST_POINT + group;

	virtual->binary_point[group] = (value & 7) > least ? value & 7 : least;
}

static bool guest_read(struct machine *machine, uint64_t offset, uint32_t *value)
{
	struct gic_virtual *virtual = &machine->gic.virtual;

	switch (offset) {
	case GICC_CTLR:
		*value = virtual->control;
		return true;
	case GICC_PMR:
		*value = virtual->priority_mask;
		return true;
	case GICC_BPR:
		*value = virtual->binary_point[0];
		return true;
	case GICC_IAR:
	case GICC_AIAR:
		*value = acknowledge(machine, offset == GICC_AIAR);
		return true;
	case GICC_RPR:
		*value = running_priority(virtual) == GIC_IDLE ? 0xff : running_priority(virtual);
		return true;
	case GICC_HPPIR:
	case GICC_AHPPIR:
		*value = highest_pending(virtual, offset == GICC_AHPPIR);
		return true;
	case GICC_ABPR:
		*value = virtual->binary_point[1];
		return true;
	case GICC_APR:
		*value = virtual->active;
		return true;
	case GICC_IIDR:
		*value = GICC_IIDR_VALUE;
		return true;
	default:
		return false;
	}
}

static bool guest_write(struct gic *gic, uint64_t offset, uint32_t value)
{
	struct gic_virtual *virtual = &gic->virtual;

	switch (offset) {
	case GICC_CTLR:
		virtual->control = value & CONTROL_MASK;
		return true;
	case GICC_PMR:
		virtual->priority_mask = value & PRIORITY_MASK;
		return true;
	case GICC_BPR:
	case GICC_ABPR:
		set_binary_point(virtual, offset == GICC_ABPR, value);
		return true;
	case GICC_EOIR:
	case GICC_AEOIR:
		if ((value & LR_ID) < GIC_RESERVED) {
			end(gic, value & LR_ID);
		}
		return true;
	case GICC_APR:
		virtual->active = value;
		return true;
	case GICC_DIR:
		if ((value & LR_ID) < GIC_RESERVED && virtual->control & GICC_EOI_MODE) {
			deactivate(gic, value & LR_ID);
		}
		return true;
	default:
		return false;
	}
}

/* --- the hypervisor's interface (GICH) ------------------------------------------------------------------------------------- */

/* GICH_VMCR: the guest's control registers in one. */
static uint32_t read_control(const struct gic_virtual *virtual)
{
	return virtual->control | virtual->binary_point[1] << 18 | virtual->binary_point[0] << 21 |
	       virtual->priority_mask >> 3 << 27;
}

static void write_control(struct gic_virtual *virtual, uint32_t value)
{
	virtual->control = value & CONTROL_MASK;
	virtual->priority_mask = value >> 27 << 3;
	set_binary_point(virtual, 0, value >> 21);
	set_binary_point(virtual, 1, value >> 18);
}

static bool hypervisor_read(const struct gic_virtual *virtual, uint64_t offset, uint32_t *value)
{
	if (offset >= LR && offset < LR + 4 * GIC_LIST_REGISTERS && !(offset & 3)) {
		*value = virtual->list[(offset - LR) / 4];
		return true;
	}
	switch (offset) {
	case HCR:
		*value = virtual->hcr;
		return true;
	case VTR:
		*value = VTR_VALUE;
		return true;
	case VMCR:
		*value = read_control(virtual);
		return true;
	case MISR:
		*value = maintenance_status(virtual);
		return true;
	case EISR:
		*value = ended(virtual);
		return true;
	case ELRSR:
		*value = empty(virtual);
		return true;
	case VAPR:
		*value = virtual->active;
		return true;
	default:
		return offset == EISR + 4 || offset == ELRSR + 4; /* of list registers that there are not */
	}
}

static bool hypervisor_write(struct gic_virtual *virtual, uint64_t offset, uint32_t value)
{
	if (offset >= LR && offset < LR + 4 * GIC_LIST_REGISTERS && !(offset & 3)) {
		virtual->list[(offset - LR) / 4] = value & LR_MASK;
		return true;
	}
	switch (offset) {
	case HCR:
		virtual->hcr = value & HCR_MASK;
		return true;
	case VMCR:
		write_control(virtual, value);
		return true;
	case VAPR:
		virtual->active = value;
		return true;
	default:
		return false;
	}
}

bool gic_virtual_read(struct machine *machine, enum gic_frame frame, uint64_t offset, uint32_t *value)
{
	return frame == GIC_GUEST ? guest_read(machine, offset, value)
				  : hypervisor_read(&machine->gic.virtual, offset, value);
}

bool gic_virtual_write(struct machine *machine, enum gic_frame frame, uint64_t offset, uint32_t value)
{
	bool known = frame == GIC_GUEST ? guest_write(&machine->gic, offset, value)
					: hypervisor_write(&machine->gic.virtual, offset, value);

	gic_virtual_update(machine);
	return known;
}
