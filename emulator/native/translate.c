/* Translation as the core performs it: registers of the regime, the architectural TLB, then the walks (Arm ARM D8). */
#include "machine.h"

#define SCTLR_M 1
#define SCTLR_WXN (UINT64_C(1) << 19)
#define SCR_NS 1
#define SCR_SIF (UINT64_C(1) << 9)
#define HCR_VM 1
#define HCR_PTW (1 << 2)
#define HCR_DC (1 << 12)
#define HCR_TGE (1 << 27)
#define TG0_64K 1 /* TCR_ELx, VTCR_EL2 */
#define TG1_64K 3
#define NORMAL_WRITE_BACK 0xff

static uint64_t field(uint64_t value, unsigned msb, unsigned lsb)
{
	return value >> lsb & ((UINT64_C(2) << (msb - lsb)) - 1);
}

static unsigned output_bits(uint64_t encoding)
{
	static const uint8_t bits[] = {32, 36, 40, 42, 44, 48, 48, 48};

	return bits[encoding] < PHYSICAL_BITS ? bits[encoding] : PHYSICAL_BITS;
}

/* TnSZ out of range: a translation fault or a value in range, as the implementation likes. As on QEMU, a fault. */
static bool is_size(uint64_t size)
{
	return size >= 16 && size <= 39;
}

/* log2 of the granule. Cortex-A72 has no 16 KiB: what is not there behaves as 4 KiB. */
static unsigned granule(uint64_t encoding, unsigned encoding_of_64k)
{
	return encoding == encoding_of_64k ? 16 : PAGE_SHIFT;
}

unsigned current_level(struct machine *machine)
{
	return core_read_register(machine, REGISTER_PSTATE) >> 2 & 3;
}

/* TCR_EL1 describes two tables, TCR_EL2 and TCR_EL3 one; false: the address lies in neither. */
static bool select_table(const struct translation_registers *registers, struct context *context, uint64_t *address)
{
	struct stage1 *stage1 = &context->stage1;
	bool upper = *address >> 55 & 1;
	unsigned half = upper ? 16 : 0;
	uint64_t size;
	uint64_t tcr, ttbr0, ttbr1, unused;
	bool tagged;

	if (!stage1->two_privileges) {
		bool el3 = context->tlb.regime == REGIME_EL3;

		tcr = el3 ? registers->tcr_el3 : registers->tcr_el2;
		stage1->table = el3 ? registers->ttbr0_el3 : registers->ttbr0_el2;
		stage1->mair = el3 ? registers->mair_el3 : registers->mair_el2;
		stage1->output_bits = output_bits(field(tcr, 18, 16));
		tagged = tcr >> 20 & 1;
		stage1->granule = granule(field(tcr, 15, 14), TG0_64K);
		upper = false;
		half = 0;
	} else {
		tcr = registers->tcr_el1;
		ttbr0 = registers->ttbr0_el1;
		ttbr1 = registers->ttbr1_el1;
		stage1->table = upper ? ttbr1 : ttbr0;
		stage1->mair = registers->mair_el1;
		stage1->output_bits = output_bits(field(tcr, 34, 32));
		context->tlb.asid = (uint16_t)((tcr >> 22 & 1 ? ttbr1 : ttbr0) >> 48);
		if (!(tcr >> 36 & 1)) {
			context->tlb.asid &= 0xff;
		}
		tagged = tcr >> (upper ? 38 : 37) & 1;
		context->disabled_walk = tcr >> (7 + half) & 1;
		stage1->granule = upper ? granule(field(tcr, 31, 30), TG1_64K) : granule(field(tcr, 15, 14), TG0_64K);
	}
	size = field(tcr, half + 5, half);
	if (!is_size(size)) {
		return false;
	}
	stage1->input_bits = 64 - (unsigned)size;
	if (tagged) {
		*address = (uint64_t)((int64_t)(*address << 8) >> 8);
	}
	unused = *address >> stage1->input_bits;
	return unused == (upper ? UINT64_MAX >> stage1->input_bits : 0);
}

static void read_stage2(const struct translation_registers *registers, struct context *context)
{
	uint64_t vtcr = registers->vtcr_el2;
	unsigned bits = granule(field(vtcr, 15, 14), TG0_64K);
	uint64_t size = field(vtcr, 5, 0);

	context->stage2 = (struct stage2){
		.table = registers->vttbr_el2 & UINT64_C(0x0000ffffffffffff),
		.granule = bits,
		.input_bits = is_size(size) ? 64 - (unsigned)size : 0, /* none: every walk faults */
		.start_level = (bits == PAGE_SHIFT ? 2 : 3) - (unsigned)field(vtcr, 7, 6), /* SL0 3 is reserved */
		.output_bits = output_bits(field(vtcr, 18, 16)),
		.walker = {.privileged = true, .nsaid = NSAID_CPU},
	};
}

/* Fills the context of one address; canonicalises *address (TBI). False: translation fault at level 0. */
static bool read_context(struct machine *machine, unsigned level, uint64_t *address, struct context *context)
{
	const struct translation_registers *registers = core_translation_registers(machine);
	uint64_t scr = registers->scr_el3;
	bool non_secure = level < 3 && scr & SCR_NS;
	uint64_t sctlr = level == 3   ? registers->sctlr_el3
			 : level == 2 ? registers->sctlr_el2
				      : registers->sctlr_el1;

	*context = (struct context){
		.tlb.regime = level == 3   ? REGIME_EL3
			      : level == 2 ? REGIME_EL2
			      : non_secure ? REGIME_EL1_NORMAL
					   : REGIME_EL1_SECURE,
		.stage1_on = sctlr & SCTLR_M,
		.stage1 = {
			.two_privileges = level < 2,
			.write_implies_execute_never = sctlr & SCTLR_WXN,
			.secure = !non_secure,
			.secure_fetch_only = scr & SCR_SIF,
		},
	};
	if (context->tlb.regime == REGIME_EL1_NORMAL) {
		uint64_t hcr = registers->hcr_el2;

		context->tlb.vmid = (uint16_t)(registers->vttbr_el2 >> 48);
		context->stage1_on &= !(hcr & (HCR_DC | HCR_TGE));
		context->cacheable = hcr & HCR_DC;
		context->stage2_on = hcr & (HCR_VM | HCR_DC);
		context->normal_tables_only = hcr & HCR_PTW;
		if (context->stage2_on) {
			read_stage2(registers, context);
		}
	}
	return !context->stage1_on || select_table(registers, context, address);
}

static const struct tlb_entry *stage1_lookup(struct machine *machine, const struct context *context, uint64_t address,
					     struct fault *fault)
{
	const struct tlb_entry *entry = tlb_find(&machine->tlb, TLB_STAGE1, context->tlb, address);
	struct leaf leaf;

	if (entry) {
		return entry;
	}
	if (context->disabled_walk) {
		fault->status = FSC_TRANSLATION;
		return NULL;
	}
	if (!stage1_walk(machine, context, address, &leaf, fault)) {
		return NULL;
	}
	return tlb_insert(&machine->tlb, &(struct tlb_entry){
		.kind = TLB_STAGE1,
		.regime = (uint8_t)context->tlb.regime,
		.vmid = context->tlb.vmid,
		.asid = context->tlb.asid,
		.address = address >> leaf.shift << leaf.shift,
		.output = leaf.address,
		.shift = leaf.shift,
		.level = leaf.level,
		.permissions = leaf.permissions,
		.attributes = leaf.attributes,
		.shareability = leaf.shareability,
		.global = leaf.global,
		.non_secure = leaf.non_secure,
	});
}

const struct tlb_entry *stage2_lookup(struct machine *machine, const struct context *context, uint64_t ipa,
				      struct fault *fault)
{
	const struct tlb_entry *entry = tlb_find(&machine->tlb, TLB_STAGE2, context->tlb, ipa);
	struct leaf leaf;

	fault->stage2 = true;
	fault->ipa = ipa;
	if (entry) {
		return entry;
	}
	if (!stage2_walk(machine, &context->stage2, ipa, &leaf, fault)) {
		return NULL;
	}
	return tlb_insert(&machine->tlb, &(struct tlb_entry){
		.kind = TLB_STAGE2,
		.regime = (uint8_t)context->tlb.regime,
		.vmid = context->tlb.vmid,
		.address = ipa >> leaf.shift << leaf.shift,
		.output = leaf.address,
		.shift = leaf.shift,
		.level = leaf.level,
		.permissions = leaf.permissions,
		.attributes = leaf.attributes,
		.shareability = leaf.shareability,
		.non_secure = true,
	});
}

static uint8_t needed(enum access access)
{
	static const uint8_t permits[] = {PERMIT_READ, PERMIT_WRITE, PERMIT_EXECUTE};

	return permits[access];
}

/* Stage 1 on *address; leaves the stage-1 entry's serial for the combined entry, 0 where stage 1 is off. */
static bool first_stage(struct machine *machine, struct context *context, uint64_t *address, enum access access,
			unsigned level, struct translation *translation, uint64_t *serial, struct fault *fault)
{
	const struct tlb_entry *entry;
	uint8_t permissions;

	*serial = 0;
	if (!context->stage1_on) {
		if (*address >> PHYSICAL_BITS) {
			fault->status = FSC_ADDRESS_SIZE;
			return false;
		}
		*translation = (struct translation){
			.address = *address,
			.non_secure = !context->stage1.secure,
			.attributes = context->cacheable ? NORMAL_WRITE_BACK : 0,
		};
		return true;
	}
	entry = stage1_lookup(machine, context, *address, fault);
	if (!entry) {
		return false;
	}
	permissions = level == 0 ? entry->permissions >> PERMIT_EL0_SHIFT : entry->permissions;
	if (!(permissions & needed(access))) {
		*fault = (struct fault){.status = FSC_PERMISSION | entry->level};
		return false;
	}
	*serial = entry->serial;
	*translation = (struct translation){
		.address = entry->output | (*address & ((UINT64_C(1) << entry->shift) - 1)),
		.non_secure = entry->non_secure,
		.attributes = entry->attributes,
		.shareability = entry->shareability,
	};
	return true;
}

/* Drops on the way what dead parents left behind. */
static const struct tlb_entry *find_child(struct tlb *tlb, struct tlb_context context, uint64_t address,
					  uint64_t serial)
{
	struct tlb_entry *entry;

	while ((entry = tlb_find(tlb, TLB_COMBINED, context, address)) && entry->serial != serial) {
		entry->stamp = 0;
	}
	return entry;
}

/* The page's own translation through both stages: cached as the child of the stage-1 entry that it came from. */
static bool second_stage(struct machine *machine, struct context *context, uint64_t address, enum access access,
			 uint64_t serial, struct translation *translation, struct fault *fault)
{
	uint64_t ipa = translation->address;
	const struct tlb_entry *entry = NULL;

	if (serial) {
		entry = find_child(&machine->tlb, context->tlb, address, serial);
	}
	if (!entry) {
		entry = stage2_lookup(machine, context, ipa, fault);
		if (!entry) {
			return false;
		}
		if (serial) {
			uint64_t inside = ipa & PAGE_MASK & ((UINT64_C(1) << entry->shift) - 1);

			entry = tlb_insert(&machine->tlb, &(struct tlb_entry){
				.kind = TLB_COMBINED,
				.regime = (uint8_t)context->tlb.regime,
				.vmid = context->tlb.vmid,
				.asid = context->tlb.asid,
				.address = address & PAGE_MASK,
				.output = entry->output | inside,
				.serial = serial,
				.shift = PAGE_SHIFT,
				.level = entry->level,
				.permissions = entry->permissions,
				.attributes = entry->attributes,
				.shareability = entry->shareability,
			});
		}
	}
	if (!(entry->permissions & needed(access))) {
		*fault = (struct fault){.status = FSC_PERMISSION | entry->level, .stage2 = true, .ipa = ipa};
		return false;
	}
	translation->address = entry->output | (ipa & ((UINT64_C(1) << entry->shift) - 1));
	translation->two_stages = true;
	translation->memory_type = entry->attributes;
	translation->stage2_shareability = entry->shareability;
	return true;
}

bool translate_stages(struct machine *machine, uint64_t address, enum access access, unsigned level, bool stage2,
		      struct translation *translation, struct fault *fault)
{
	struct context context;
	uint64_t serial;

	*fault = (struct fault){.status = FSC_NONE};
	if (!read_context(machine, level, &address, &context)) {
		fault->status = FSC_TRANSLATION;
		return false;
	}
	if (!first_stage(machine, &context, &address, access, level, translation, &serial, fault)) {
		return false;
	}
	*fault = (struct fault){.status = FSC_NONE};
	if (!stage2 || !context.stage2_on) {
		return true;
	}
	if (!second_stage(machine, &context, address, access, serial, translation, fault)) {
		return false;
	}
	*fault = (struct fault){.status = FSC_NONE};
	return true;
}

bool translate(struct machine *machine, uint64_t address, enum access access, unsigned level,
	       struct translation *translation, struct fault *fault)
{
	return translate_stages(machine, address, access, level, true, translation, fault);
}

/* The combined entry counts before stage 2's own, as in second_stage. */
static const struct tlb_entry *cached_stage2(struct machine *machine, const struct context *context, uint64_t address,
					     uint64_t ipa, uint64_t serial)
{
	const struct tlb_entry *child = serial ? tlb_find(&machine->tlb, TLB_COMBINED, context->tlb, address) : NULL;

	return child && child->serial == serial ? child : tlb_find(&machine->tlb, TLB_STAGE2, context->tlb, ipa);
}

static void find_cached(struct machine *machine, const struct context *context, uint64_t address, unsigned level,
			struct cached *cached)
{
	const struct tlb_entry *entry;
	uint64_t serial = 0;

	cached->physical = address;
	cached->non_secure = !context->stage1.secure;
	if (context->stage1_on) {
		entry = tlb_find(&machine->tlb, TLB_STAGE1, context->tlb, address);
		if (!entry) {
			return;
		}
		serial = entry->serial;
		cached->rights &= level == 0 ? entry->permissions >> PERMIT_EL0_SHIFT : entry->permissions;
		cached->physical = entry->output | (address & ((UINT64_C(1) << entry->shift) - 1));
		cached->non_secure = entry->non_secure;
	}
	if (context->stage2_on) {
		entry = cached_stage2(machine, context, address, cached->physical, serial);
		if (!entry) {
			return;
		}
		cached->uncombined = serial && entry->kind != TLB_COMBINED;
		cached->rights &= entry->permissions;
		cached->physical = entry->output | (cached->physical & ((UINT64_C(1) << entry->shift) - 1));
	}
	cached->complete = true;
}

#define ALL_RIGHTS (PERMIT_READ | PERMIT_WRITE | PERMIT_EXECUTE)

void translate_cached(struct machine *machine, uint64_t address, unsigned level, struct cached *cached)
{
	struct context context;

	*cached = (struct cached){.rights = ALL_RIGHTS};
	if (read_context(machine, level, &address, &context) && (context.stage1_on || context.stage2_on)) {
		find_cached(machine, &context, address, level, cached);
	}
}

#define SAME_CONTEXT_SHIFT 25 /* the smallest table's size: addresses that are equal from here up share tables and tags */

uint64_t translate_reach(struct machine *machine, uint64_t address, uint64_t bytes, enum access access, unsigned level,
			 const struct translation *first, struct tlb_found *found)
{
	uint64_t reached = PAGE_SIZE - (address & ~PAGE_MASK);
	uint64_t canonical = address;
	struct context context;

	*found = (struct tlb_found){machine->tlb.drops, machine->tlb.now, false};
	if (!read_context(machine, level, &canonical, &context)) {
		return reached < bytes ? reached : bytes;
	}
	while (reached < bytes && !((address ^ (address + reached)) >> SAME_CONTEXT_SHIFT)) {
		struct cached next = {.rights = ALL_RIGHTS};

		find_cached(machine, &context, canonical + reached, level, &next);
		found->lacking = !next.complete || next.uncombined;
		if (found->lacking || !(next.rights & needed(access)) || next.physical != first->address + reached ||
		    next.non_secure != first->non_secure) {
			break;
		}
		reached += PAGE_SIZE;
	}
	return reached < bytes ? reached : bytes;
}
