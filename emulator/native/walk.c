/* Table walks, VMSAv8-64 with granules of 4 and 64 KiB (Arm ARM D8): every descriptor fetch is a bus access of its own. */
#include "machine.h"

#define VALID UINT64_C(1)
#define TABLE_OR_PAGE UINT64_C(2)
#define ACCESS_FLAG (UINT64_C(1) << 10)
#define NOT_GLOBAL (UINT64_C(1) << 11)
#define OUTPUT_MASK UINT64_C(0x0000fffffffff000)
#define BASE_MASK UINT64_C(0x0000ffffffffffff) /* of TTBR: a first table of few entries need not fill a page */

#define TABLE_NS (UINT64_C(1) << 63)
#define TABLE_NO_WRITE (UINT64_C(1) << 62)
#define TABLE_NO_EL0 (UINT64_C(1) << 61)
#define TABLE_UXN (UINT64_C(1) << 60)
#define TABLE_PXN (UINT64_C(1) << 59)

#define LEAF_UXN (UINT64_C(1) << 54)
#define LEAF_PXN (UINT64_C(1) << 53)
#define LEAF_READ_ONLY (UINT64_C(1) << 7)
#define LEAF_EL0 (UINT64_C(1) << 6)
#define LEAF_NS (UINT64_C(1) << 5)

#define STAGE2_READ (UINT64_C(1) << 6)
#define STAGE2_WRITE (UINT64_C(1) << 7)
#define STAGE2_XN (UINT64_C(1) << 54)
#define STAGE2_NORMAL 0xc /* MemAttr[3:2]: 0 is Device */

/* Each table resolves as many bits as a granule holds descriptors. */
static unsigned level_shift(unsigned granule, unsigned level)
{
	return granule + (granule - 3) * (3 - level);
}

static bool fail(struct fault *fault, unsigned status, unsigned level)
{
	fault->status = (uint8_t)(status | level);
	return false;
}

/* Descriptors are 8 aligned bytes, so never cross a page. A fetch that a filter silently denies reads zeros. */
static enum bus_result fetch(struct machine *machine, uint64_t address, struct master walker, uint64_t *descriptor)
{
	return bus_read(machine, address, walker, descriptor, sizeof *descriptor);
}

static uint64_t descriptor_address(uint64_t table, uint64_t input, unsigned granule, unsigned level, unsigned input_bits,
				   bool first)
{
	unsigned shift = level_shift(granule, level);
	unsigned index_bits = first ? input_bits - shift : granule - 3;
	uint64_t index = input >> shift & ((UINT64_C(1) << index_bits) - 1);
	uint64_t alignment = (UINT64_C(8) << index_bits) - 1;

	return (table & BASE_MASK & ~alignment) | index << 3;
}

static bool is_leaf(uint64_t descriptor, unsigned level)
{
	return level == 3 || !(descriptor & TABLE_OR_PAGE);
}

/* Bits 1:0: invalid, a block where the level has none, or a page's encoding at level 3. */
static bool is_invalid(uint64_t descriptor, unsigned granule, unsigned level)
{
	unsigned first_block = granule == PAGE_SHIFT ? 1 : 2;

	if (!(descriptor & VALID)) {
		return true;
	}
	return !(descriptor & TABLE_OR_PAGE) && (level < first_block || level == 3);
}

static bool too_wide(uint64_t address, unsigned bits)
{
	return address & OUTPUT_MASK & ~((UINT64_C(1) << bits) - 1);
}

bool stage2_walk(struct machine *machine, const struct stage2 *stage2, uint64_t ipa, struct leaf *leaf,
		 struct fault *fault)
{
	uint64_t table = stage2->table;
	unsigned granule = stage2->granule;
	unsigned start_shift = level_shift(granule, stage2->start_level);

	fault->stage2 = true;
	fault->ipa = ipa;
	if (stage2->start_level > 3 || stage2->input_bits <= start_shift ||
	    stage2->input_bits > start_shift + granule + 1 || ipa >> stage2->input_bits) {
		return fail(fault, FSC_TRANSLATION, 0); /* at most 16 tables can be concatenated */
	}
	if (too_wide(table, stage2->output_bits)) {
		return fail(fault, FSC_ADDRESS_SIZE, 0);
	}
	for (unsigned level = stage2->start_level;; level++) {
		uint64_t descriptor;
		uint64_t at = descriptor_address(table, ipa, granule, level, stage2->input_bits,
						 level == stage2->start_level);

		if (fetch(machine, at, stage2->walker, &descriptor) == BUS_ERROR) {
			return fail(fault, FSC_EXTERNAL_WALK, level);
		}
		if (is_invalid(descriptor, granule, level)) {
			return fail(fault, FSC_TRANSLATION, level);
		}
		if (too_wide(descriptor, stage2->output_bits)) {
			return fail(fault, FSC_ADDRESS_SIZE, level);
		}
		if (!is_leaf(descriptor, level)) {
			table = descriptor;
			continue;
		}
		if (!(descriptor & ACCESS_FLAG)) {
			return fail(fault, FSC_ACCESS_FLAG, level);
		}
		*leaf = (struct leaf){
			.address = (descriptor & OUTPUT_MASK) >> level_shift(granule, level) << level_shift(granule, level),
			.shift = (uint8_t)level_shift(granule, level),
			.level = (uint8_t)level,
			.permissions = (descriptor & STAGE2_READ ? PERMIT_READ : 0) |
				       (descriptor & STAGE2_WRITE ? PERMIT_WRITE : 0) |
				       (descriptor & STAGE2_XN ? 0 : PERMIT_EXECUTE),
			.attributes = descriptor >> 2 & 0xf,
			.shareability = descriptor >> 8 & 3,
			.non_secure = true,
		};
		return true;
	}
}

/* `tables` gathers the hierarchical bits of the table descriptors above the leaf. */
static uint8_t stage1_permissions(const struct stage1 *stage1, uint64_t descriptor, uint64_t tables, bool non_secure)
{
	bool writable = !(descriptor & LEAF_READ_ONLY) && !(tables & TABLE_NO_WRITE);
	uint8_t permissions = PERMIT_READ | (writable ? PERMIT_WRITE : 0);
	bool execute_never = stage1->secure && stage1->secure_fetch_only && non_secure;
	bool privileged_never;

	if (!stage1->two_privileges) {
		privileged_never = descriptor & LEAF_UXN || tables & TABLE_UXN; /* named XN here */
	} else {
		bool el0 = descriptor & LEAF_EL0 && !(tables & TABLE_NO_EL0);
		bool el0_never = execute_never || descriptor & LEAF_UXN || tables & TABLE_UXN ||
				 (el0 && writable && stage1->write_implies_execute_never);

		if (el0) {
			permissions |= permissions << PERMIT_EL0_SHIFT;
		}
		permissions |= el0_never ? 0 : PERMIT_EXECUTE << PERMIT_EL0_SHIFT;
		/* What EL0 may write, EL1 may not execute. */
		privileged_never = descriptor & LEAF_PXN || tables & TABLE_PXN || (el0 && writable);
	}
	if (!execute_never && !privileged_never && !(writable && stage1->write_implies_execute_never)) {
		permissions |= PERMIT_EXECUTE;
	}
	return permissions;
}

/* A stage-1 descriptor's IPA through stage 2, as a read by the walk. */
static bool walk_address(struct machine *machine, const struct context *context, uint64_t *address,
			 struct fault *fault)
{
	const struct tlb_entry *entry;

	if (!context->stage2_on) {
		return true;
	}
	entry = stage2_lookup(machine, context, *address, fault);
	if (entry && (!(entry->permissions & PERMIT_READ) ||
		      (context->normal_tables_only && !(entry->attributes & STAGE2_NORMAL)))) {
		fail(fault, FSC_PERMISSION, entry->level);
		entry = NULL;
	}
	if (!entry) {
		fault->stage1_walk = true;
		return false;
	}
	*address = entry->output | (*address & ((UINT64_C(1) << entry->shift) - 1));
	fault->stage2 = false;
	fault->ipa = 0;
	return true;
}

bool stage1_walk(struct machine *machine, const struct context *context, uint64_t address, struct leaf *leaf,
		 struct fault *fault)
{
	const struct stage1 *stage1 = &context->stage1;
	unsigned granule = stage1->granule;
	unsigned start_level = 4 - (stage1->input_bits - granule + granule - 4) / (granule - 3);
	uint64_t table = stage1->table;
	uint64_t tables = 0;

	if (too_wide(table, stage1->output_bits)) {
		return fail(fault, FSC_ADDRESS_SIZE, 0);
	}
	for (unsigned level = start_level;; level++) {
		struct master walker = {.secure = stage1->secure && !(tables & TABLE_NS), .privileged = true};
		uint64_t descriptor;
		uint64_t at = descriptor_address(table, address, granule, level, stage1->input_bits,
						 level == start_level);

		if (!walk_address(machine, context, &at, fault)) {
			return false;
		}
		if (fetch(machine, at, walker, &descriptor) == BUS_ERROR) {
			return fail(fault, FSC_EXTERNAL_WALK, level);
		}
		if (is_invalid(descriptor, granule, level)) {
			return fail(fault, FSC_TRANSLATION, level);
		}
		if (too_wide(descriptor, stage1->output_bits)) {
			return fail(fault, FSC_ADDRESS_SIZE, level);
		}
		if (!is_leaf(descriptor, level)) {
			tables |= descriptor & (TABLE_NS | TABLE_NO_WRITE | TABLE_NO_EL0 | TABLE_UXN | TABLE_PXN);
			table = descriptor;
			continue;
		}
		if (!(descriptor & ACCESS_FLAG)) {
			return fail(fault, FSC_ACCESS_FLAG, level);
		}
		*leaf = (struct leaf){
			.address = (descriptor & OUTPUT_MASK) >> level_shift(granule, level) << level_shift(granule, level),
			.shift = (uint8_t)level_shift(granule, level),
			.level = (uint8_t)level,
			.attributes = (uint8_t)(stage1->mair >> ((descriptor >> 2 & 7) * 8)),
			.shareability = descriptor >> 8 & 3,
			/* What Secure state reads from Non-secure tables is never global (Arm ARM D8.3, NSTable). */
			.global = !stage1->two_privileges ||
				  (!(descriptor & NOT_GLOBAL) && !(stage1->secure && tables & TABLE_NS)),
			.non_secure = !stage1->secure || descriptor & LEAF_NS || tables & TABLE_NS,
		};
		leaf->permissions = stage1_permissions(stage1, descriptor, tables, leaf->non_secure);
		return true;
	}
}
