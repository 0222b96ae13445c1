/*
 * The registers of the GIC's virtual interface (IHI 0048B, 5.3 and 5.5): GICV, which a guest takes for a GICC, and GICH, with
 * which its hypervisor fills it.
 */
#include "machine.h"

/* GICH */
enum { HCR = 0x000, VTR = 0x004, VMCR = 0x008, MISR = 0x010, EISR = 0x020, ELRSR = 0x030, VAPR = 0x0f0, LR = 0x100 };

#define VTR_VALUE (4u << 29 | 4u << 26 | (GIC_LIST_REGISTERS - 1)) /* five bits of priority and preemption */

#define HCR_MASK 0xf80000ffu /* EOICount and what asks for maintenance */
#define LR_MASK 0xff8fffffu /* 22:20 are reserved */
#define CONTROL_MASK 0x21f
#define PRIORITY_MASK 0xf8
#define ID_MASK 0x3ff

/* --- the guest's interface (GICV) ------------------------------------------------------------------------------------------ */

static void set_binary_point(struct gic_virtual *virtual, unsigned group, uint32_t value)
{
	uint32_t least = GIC_VIRTUAL_LEAST_POINT + group;

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
		*value = gic_virtual_acknowledge(machine, offset == GICC_AIAR);
		return true;
	case GICC_RPR:
		*value = gic_virtual_running_priority(virtual) == GIC_IDLE ? 0xff : gic_virtual_running_priority(virtual);
		return true;
	case GICC_HPPIR:
	case GICC_AHPPIR:
		*value = gic_virtual_highest_pending(virtual, offset == GICC_AHPPIR);
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
		if ((value & ID_MASK) < GIC_RESERVED) {
			gic_virtual_end(gic, value & ID_MASK);
		}
		return true;
	case GICC_APR:
		virtual->active = value;
		return true;
	case GICC_DIR:
		if ((value & ID_MASK) < GIC_RESERVED && virtual->control & GICC_EOI_MODE) {
			gic_virtual_deactivate(gic, value & ID_MASK);
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
		*value = gic_virtual_maintenance(virtual);
		return true;
	case EISR:
		*value = gic_virtual_ended(virtual);
		return true;
	case ELRSR:
		*value = gic_virtual_empty(virtual);
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
