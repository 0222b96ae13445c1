/*
 * The distributor's registers (IHI 0048B, 4.3). All but two are arrays of a bit, two bits or a byte for each interrupt and
 * are served byte by byte. Non-secure accesses see and change Group 1 only. There is one core: GICD_ITARGETSR is RAZ/WI.
 */
#include "machine.h"

enum {
	CTLR = 0x000, TYPER = 0x004, IIDR = 0x008, IGROUPR = 0x080, ISENABLER = 0x100, ICENABLER = 0x180, ISPENDR = 0x200,
	ICPENDR = 0x280, ISACTIVER = 0x300, ICACTIVER = 0x380, IPRIORITYR = 0x400, ITARGETSR = 0x800, ICFGR = 0xc00,
	NSACR = 0xe00, SGIR = 0xf00, CPENDSGIR = 0xf10, SPENDSGIR = 0xf20, UNUSED = 0xf30, IDENTIFICATION = 0xfd0, END = 0x1000,
};

#define TYPER_VALUE (GIC_INTERRUPTS / 32 - 1 + (1 << 10)) /* ITLinesNumber, one core, SecurityExtn */
#define IIDR_VALUE 0x43b                                  /* Arm, product 0 */

static uint32_t identification(uint64_t offset)
{
	static const uint8_t bytes[] = {0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 0x05, 0xb1};

	return offset & 3 ? 0 : bytes[(offset - IDENTIFICATION) / 4];
}

/* --- arrays with a bit for each interrupt ------------------------------------------------------------------------------- */

static bool read_bit(const struct gic_interrupt *interrupt, uint64_t array)
{
	switch (array) {
	case IGROUPR:
		return interrupt->group1;
	case ISENABLER:
	case ICENABLER:
		return interrupt->enabled;
	case ISPENDR:
	case ICPENDR:
		return gic_is_pending(interrupt);
	default:
		return interrupt->active;
	}
}

static void write_one(struct gic_interrupt *interrupt, uint64_t array, bool software_generated)
{
	switch (array) {
	case ISENABLER:
		interrupt->enabled = true;
		break;
	case ICENABLER:
		interrupt->enabled = software_generated;
		break;
	case ISPENDR:
		interrupt->latched = interrupt->latched || !software_generated;
		break;
	case ICPENDR:
		interrupt->latched = interrupt->latched && software_generated;
		break;
	case ISACTIVER:
		interrupt->active = true;
		break;
	case ICACTIVER:
		interrupt->active = false;
		break;
	}
}

static bool read_bits(const struct gic *gic, uint64_t offset, bool secure, uint32_t *value)
{
	uint64_t array = offset & ~UINT64_C(0x7f);
	unsigned first = (unsigned)(offset - array) * 8;

	if (first >= GIC_INTERRUPTS) {
		return false;
	}
	for (unsigned i = 0; i < 8; i++) {
		const struct gic_interrupt *interrupt = &gic->interrupt[first + i];
		bool hidden = array == IGROUPR ? !secure : gic_is_hidden(interrupt, secure);

		*value |= (uint32_t)(!hidden && read_bit(interrupt, array)) << i;
	}
	return true;
}

static bool write_bits(struct gic *gic, uint64_t offset, bool secure, uint32_t value)
{
	uint64_t array = offset & ~UINT64_C(0x7f);
	unsigned first = (unsigned)(offset - array) * 8;

	if (first >= GIC_INTERRUPTS) {
		return false;
	}
	for (unsigned i = 0; i < 8; i++) {
		struct gic_interrupt *interrupt = &gic->interrupt[first + i];
		bool one = value >> i & 1;

		if (array == IGROUPR && secure) {
			interrupt->group1 = one;
		} else if (array != IGROUPR && one && !gic_is_hidden(interrupt, secure)) {
			write_one(interrupt, array, first < GIC_SGIS);
		}
	}
	return true;
}

/* --- priorities, configuration, pending SGIs ------------------------------------------------------------------------------- */

static bool access_priority(struct gic *gic, uint64_t offset, bool secure, bool write, uint32_t *value)
{
	unsigned id = (unsigned)(offset - IPRIORITYR);
	struct gic_interrupt *interrupt = &gic->interrupt[id];

	if (id >= GIC_INTERRUPTS) {
		return false;
	}
	if (gic_is_hidden(interrupt, secure)) {
		return true;
	}
	if (write) {
		interrupt->priority = (uint8_t)(secure ? *value : 0x80 | (*value & 0xff) >> 1);
	} else {
		*value = secure ? interrupt->priority : (uint32_t)interrupt->priority << 1 & 0xff;
	}
	return true;
}

/* Two bits an interrupt; the lower one is reserved in GICv2. */
static bool access_configuration(struct gic *gic, uint64_t offset, bool secure, bool write, uint32_t *value)
{
	unsigned first = (unsigned)(offset - ICFGR) * 4;

	if (first >= GIC_INTERRUPTS) {
		return false;
	}
	for (unsigned i = 0; i < 4; i++) {
		struct gic_interrupt *interrupt = &gic->interrupt[first + i];

		if (gic_is_hidden(interrupt, secure)) {
			continue;
		}
		if (write) {
			interrupt->edge = first < GIC_SGIS || *value >> (2 * i + 1) & 1;
		} else {
			*value |= (uint32_t)interrupt->edge << (2 * i + 1);
		}
	}
	return true;
}

/* A byte an SGI with a bit for each core that asks: ours is bit 0. */
static void access_pending_sgi(struct gic *gic, uint64_t offset, bool secure, bool write, uint32_t *value)
{
	struct gic_interrupt *interrupt = &gic->interrupt[offset & (GIC_SGIS - 1)];

	if (gic_is_hidden(interrupt, secure)) {
		return;
	}
	if (!write) {
		*value = interrupt->latched;
	} else if (*value & 1) {
		interrupt->latched = offset >= SPENDSGIR;
	}
}

/*
 * GICD_SGIR: to the cores of a list, to all others, or to oneself. Non-secure software raises Group 1 only, Secure
 * software the group that NSATT names (table 4-22).
 */
static void generate(struct gic *gic, bool secure, uint32_t value)
{
	struct gic_interrupt *interrupt = &gic->interrupt[value & 0xf];
	unsigned filter = value >> 24 & 3;
	bool to_us = filter == 2 || (filter == 0 && value >> 16 & 1);
	bool forwarded = secure ? interrupt->group1 == (value >> 15 & 1) : interrupt->group1;

	if (to_us && forwarded) {
		interrupt->latched = true;
	}
}

/* --- accesses ------------------------------------------------------------------------------------------------------------------ */

static bool access_byte(struct gic *gic, uint64_t offset, bool secure, bool write, uint32_t *value)
{
	if (offset >= IGROUPR && offset < IPRIORITYR) {
		return write ? write_bits(gic, offset, secure, *value) : read_bits(gic, offset, secure, value);
	}
	if (offset >= IPRIORITYR && offset < ITARGETSR) {
		return access_priority(gic, offset, secure, write, value);
	}
	if (offset >= ITARGETSR && offset < ICFGR) {
		return offset - ITARGETSR < GIC_INTERRUPTS;
	}
	if (offset >= ICFGR && offset < NSACR) {
		return access_configuration(gic, offset, secure, write, value);
	}
	if (offset >= CPENDSGIR && offset < UNUSED) {
		access_pending_sgi(gic, offset, secure, write, value);
		return true;
	}
	if (offset >= IDENTIFICATION && offset < END && !write) {
		*value = identification(offset);
		return true;
	}
	return false;
}

static bool read_word(const struct gic *gic, uint64_t offset, bool secure, uint32_t *value)
{
	switch (offset) {
	case CTLR:
		*value = secure ? gic->distributor_control : gic->distributor_control >> 1;
		return true;
	case TYPER:
		*value = TYPER_VALUE;
		return true;
	case IIDR:
		*value = IIDR_VALUE;
		return true;
	default:
		return false;
	}
}

bool gic_distributor_read(const struct gic *gic, uint64_t offset, unsigned size, bool secure, uint32_t *value)
{
	uint32_t word = 0;
	bool known = false;

	if (offset < IGROUPR) {
		known = read_word(gic, offset & ~UINT64_C(3), secure, &word);
		*value = word >> (offset & 3) * 8 & (uint32_t)(UINT64_MAX >> (64 - size * 8));
		return known;
	}
	for (unsigned i = 0; i < size; i++) {
		uint32_t byte = 0;

		known |= access_byte((struct gic *)gic, offset + i, secure, false, &byte);
		*value |= byte << i * 8;
	}
	return known;
}

bool gic_distributor_write(struct gic *gic, uint64_t offset, unsigned size, bool secure, uint32_t value)
{
	const uint32_t groups = GIC_ENABLE_GROUP0 | GIC_ENABLE_GROUP1;
	bool known = false;

	if (offset == CTLR) {
		gic->distributor_control = secure ? value & groups : (gic->distributor_control & GIC_ENABLE_GROUP0) |
									     (value << 1 & GIC_ENABLE_GROUP1);
		return true;
	}
	if (offset == SGIR && size == 4) {
		generate(gic, secure, value);
		return true;
	}
	for (unsigned i = 0; i < size; i++) {
		uint32_t byte = value >> i * 8 & 0xff;

		known |= access_byte(gic, offset + i, secure, true, &byte);
	}
	return known;
}
