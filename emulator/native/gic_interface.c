/*
 * The CPU interface's registers (IHI 0048B, 4.4): words, with a Secure and a Non-secure view. The aliases (AIAR, AEOIR,
 * AHPPIR) give Secure software the Non-secure view of what is pending.
 */
#include "machine.h"

#define ID_MASK 0x3ff

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The Non-secure view of GICC_CTLR: EnableGrp1 and EOImodeNS, a place lower. */
#define NORMAL_CTLR (GIC_ENABLE_GROUP1 | GICC_EOI_MODE_NS)

static void write_control(struct gic *gic, bool secure, uint32_t value)
{
	gic->control = secure ? value & GICC_CTLR_MASK : (gic->control & ~(uint32_t)NORMAL_CTLR) | (value << 1 & NORMAL_CTLR);
}

static void write_priority_mask(struct gic *gic, bool secure, uint32_t value)
{
	if (secure) {
		gic->priority_mask = value & 0xff;
	} else if (gic->priority_mask & 0x80) { /* else the Secure side keeps it for itself */
		gic->priority_mask = 0x80 | (value & 0xff) >> 1;
	}
}

/* Non-secure software has Group 1's, or with CBPR sees Group 0's, which count from one bit further down. */
static uint32_t read_binary_point(const struct gic *gic, bool secure)
{
	if (secure) {
		return gic->binary_point[0];
	}
	return gic->control & GICC_CBPR ? least(gic->binary_point[0] + 1, 7) : gic->binary_point[1];
}

static void write_normal_binary_point(struct gic *gic, uint32_t value)
{
	gic->binary_point[1] = value & 7 ? value & 7 : 1;
}

/* Non-secure software sees the lower half of the priorities of its group as all there are. */
static uint32_t *active_priorities(struct gic *gic, uint64_t offset, bool secure)
{
	unsigned word = (offset >> 2) & 3;

	if (secure) {
		return &gic->active[offset >= GICC_NSAPR][word];
	}
	return offset < GICC_NSAPR && word < 2 ? &gic->active[1][word + 2] : NULL;
}

static uint32_t read_running_priority(const struct gic *gic, bool secure)
{
	unsigned running = gic_running_priority(gic);

	if (running == GIC_IDLE) {
		return 0xff;
	}
	return secure ? running : gic_normal_priority(running);
}

bool gic_interface_read(struct machine *machine, uint64_t offset, bool secure, uint32_t *value)
{
	struct gic *gic = &machine->gic;

	if (offset >= GICC_APR && offset < GICC_APRS_END && !(offset & 3)) {
		uint32_t *active = active_priorities(gic, offset, secure);

		*value = active ? *active : 0;
		return true;
	}
	switch (offset) {
	case GICC_CTLR:
		*value = secure ? gic->control : (gic->control & NORMAL_CTLR) >> 1;
		return true;
	case GICC_PMR:
		*value = secure ? gic->priority_mask : gic_normal_priority(gic->priority_mask);
		return true;
	case GICC_BPR:
		*value = read_binary_point(gic, secure);
		return true;
	case GICC_IAR:
		*value = gic_acknowledge(machine, secure);
		return true;
	case GICC_RPR:
		*value = read_running_priority(gic, secure);
		return true;
	case GICC_HPPIR:
		*value = gic_highest_pending(gic, secure);
		return true;
	case GICC_ABPR:
		*value = secure ? gic->binary_point[1] : 0;
		return true;
	case GICC_AIAR:
		*value = secure ? gic_acknowledge(machine, false) : 0;
		return true;
	case GICC_AHPPIR:
		*value = secure ? gic_highest_pending(gic, false) : 0;
		return true;
	case GICC_IIDR:
		*value = GICC_IIDR_VALUE;
		return true;
	default:
		return false;
	}
}

bool gic_interface_write(struct machine *machine, uint64_t offset, bool secure, uint32_t value)
{
	struct gic *gic = &machine->gic;

	if (offset >= GICC_APR && offset < GICC_APRS_END && !(offset & 3)) {
		uint32_t *active = active_priorities(gic, offset, secure);

		if (active) {
			*active = value;
		}
		return true;
	}
	switch (offset) {
	case GICC_CTLR:
		write_control(gic, secure, value);
		return true;
	case GICC_PMR:
		write_priority_mask(gic, secure, value);
		return true;
	case GICC_BPR:
		if (secure) {
			gic->binary_point[0] = value & 7;
		} else if (!(gic->control & GICC_CBPR)) {
			write_normal_binary_point(gic, value);
		}
		return true;
	case GICC_EOIR:
		gic_end(machine, value & ID_MASK, secure);
		return true;
	case GICC_ABPR:
		if (secure) {
			write_normal_binary_point(gic, value);
		}
		return true;
	case GICC_AEOIR:
		if (secure) {
			gic_end(machine, value & ID_MASK, false);
		}
		return true;
	case GICC_DIR:
		gic_deactivate(machine, value & ID_MASK, secure);
		return true;
	default:
		return false;
	}
}
