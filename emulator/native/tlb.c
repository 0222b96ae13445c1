/* The architectural TLB: a hash table that only invalidations empty. See tlb.h. */
#include <stdlib.h>
#include <string.h>

#include "tlb.h"

#define INITIAL_CAPACITY 4096
#define NEIGHBOURS 16

/* Sizes of stage-1 and stage-2 entries: page, level 2 and level 1 block of the 4 KiB granule; page and block of 64 KiB. */
static const uint8_t entry_shifts[TLB_SIZES] = {12, 21, 30, 16, 29};
#define SIZES_OF_4K 3

bool tlb_init(struct tlb *tlb)
{
	memset(tlb, 0, sizeof *tlb);
	tlb->capacity = INITIAL_CAPACITY;
	tlb->entries = calloc(tlb->capacity, sizeof *tlb->entries);
	tlb->vmid_stage1 = calloc(TLB_VMIDS, sizeof *tlb->vmid_stage1);
	tlb->vmid_stage2 = calloc(TLB_VMIDS, sizeof *tlb->vmid_stage2);
	tlb->now = 1;
	tlb->sizes = SIZES_OF_4K;
	return tlb->entries && tlb->vmid_stage1 && tlb->vmid_stage2;
}

void tlb_release(struct tlb *tlb)
{
	free(tlb->entries);
	free(tlb->vmid_stage1);
	free(tlb->vmid_stage2);
	memset(tlb, 0, sizeof *tlb);
}

/*
 * ASIDs share a chain: a look-up must meet global entries whatever their ASID. Neighbouring pages have neighbouring
 * slots, so that whoever walks through memory walks through the table as well.
 */
static uint64_t hash(enum tlb_kind kind, enum regime regime, uint16_t vmid, uint64_t address, unsigned shift)
{
	uint64_t page = address >> shift;
	uint64_t key = page / NEIGHBOURS ^ ((uint64_t)vmid << 40) ^ ((uint64_t)regime << 57) ^ ((uint64_t)kind << 60) ^
		       ((uint64_t)shift << 50);

	key *= UINT64_C(0x9e3779b97f4a7c15);
	return (key ^ key >> 32) * NEIGHBOURS + page % NEIGHBOURS;
}

static bool is_live(const struct tlb *tlb, const struct tlb_entry *entry)
{
	if (entry->stamp <= tlb->all[entry->regime]) {
		return false; /* free entries have stamp 0 */
	}
	if (entry->regime != REGIME_EL1_NORMAL) {
		return true;
	}
	return entry->stamp > (entry->kind == TLB_STAGE2 ? tlb->vmid_stage2 : tlb->vmid_stage1)[entry->vmid];
}

static bool has_asid(const struct tlb_entry *entry, uint16_t asid)
{
	return entry->kind == TLB_STAGE2 || entry->global || entry->asid == asid;
}

static struct tlb_entry *find_sized(struct tlb *tlb, enum tlb_kind kind, struct tlb_context context, uint64_t address,
				    unsigned shift)
{
	uint64_t base = address >> shift << shift;
	uint64_t slot = hash(kind, context.regime, context.vmid, base, shift) & (tlb->capacity - 1);

	for (;; slot = (slot + 1) & (tlb->capacity - 1)) {
		struct tlb_entry *entry = &tlb->entries[slot];

		if (!entry->serial && !entry->stamp) {
			return NULL; /* never used: the chain ends */
		}
		if (entry->address == base && entry->shift == shift && entry->kind == kind &&
		    entry->regime == context.regime && entry->vmid == context.vmid && has_asid(entry, context.asid) &&
		    is_live(tlb, entry)) {
			return entry;
		}
	}
}

struct tlb_entry *tlb_find(struct tlb *tlb, enum tlb_kind kind, struct tlb_context context, uint64_t address)
{
	for (unsigned i = 0; i < tlb->sizes; i++) {
		struct tlb_entry *entry = find_sized(tlb, kind, context, address, entry_shifts[i]);

		if (entry || kind == TLB_COMBINED) {
			return entry;
		}
	}
	return NULL;
}

static bool has_parent_of_size(const struct tlb *tlb, const struct tlb_entry *child, unsigned shift)
{
	uint64_t base = child->address >> shift << shift;
	uint64_t slot = hash(TLB_STAGE1, child->regime, child->vmid, base, shift) & (tlb->capacity - 1);

	for (; tlb->entries[slot].serial || tlb->entries[slot].stamp; slot = (slot + 1) & (tlb->capacity - 1)) {
		const struct tlb_entry *entry = &tlb->entries[slot];

		if (entry->kind == TLB_STAGE1 && entry->serial == child->serial) {
			return is_live(tlb, entry);
		}
	}
	return false;
}

bool tlb_is_usable(const struct tlb *tlb, const struct tlb_entry *entry)
{
	if (!is_live(tlb, entry) || entry->kind != TLB_COMBINED) {
		return is_live(tlb, entry);
	}
	for (unsigned i = 0; i < tlb->sizes; i++) {
		if (has_parent_of_size(tlb, entry, entry_shifts[i])) {
			return true;
		}
	}
	return false;
}

static struct tlb_entry *place(struct tlb *tlb, const struct tlb_entry *entry)
{
	uint64_t slot = hash(entry->kind, entry->regime, entry->vmid, entry->address, entry->shift) &
			(tlb->capacity - 1);

	while (tlb->entries[slot].serial || tlb->entries[slot].stamp) {
		slot = (slot + 1) & (tlb->capacity - 1);
	}
	tlb->entries[slot] = *entry;
	tlb->used++;
	return &tlb->entries[slot];
}

/* Leaves the dead behind. Combined entries whose parent died stay until they are looked up in vain: harmless. */
static void rebuild(struct tlb *tlb)
{
	struct tlb_entry *old = tlb->entries;
	uint64_t old_capacity = tlb->capacity;
	uint64_t live = 0;

	for (uint64_t i = 0; i < old_capacity; i++) {
		live += is_live(tlb, &old[i]);
	}
	while (tlb->capacity < live * 4) {
		tlb->capacity *= 2;
	}
	tlb->entries = calloc(tlb->capacity, sizeof *tlb->entries);
	if (!tlb->entries) {
		abort();
	}
	tlb->used = 0;
	for (uint64_t i = 0; i < old_capacity; i++) {
		if (is_live(tlb, &old[i])) {
			place(tlb, &old[i]);
		}
	}
	free(old);
}

struct tlb_entry *tlb_insert(struct tlb *tlb, const struct tlb_entry *entry)
{
	struct tlb_entry stamped = *entry;

	if (tlb->used * 2 >= tlb->capacity) {
		rebuild(tlb);
	}
	if (stamped.shift == entry_shifts[SIZES_OF_4K] || stamped.shift == entry_shifts[SIZES_OF_4K + 1]) {
		tlb->sizes = TLB_SIZES; /* from now on look-ups try them */
	}
	stamped.stamp = ++tlb->now;
	if (stamped.kind != TLB_COMBINED) {
		stamped.serial = stamped.stamp;
	}
	return place(tlb, &stamped);
}

void tlb_drop_regime(struct tlb *tlb, enum regime regime)
{
	tlb->all[regime] = tlb->now++;
	tlb->drops++;
}

void tlb_drop_vmid(struct tlb *tlb, enum regime regime, uint16_t vmid, bool stage2)
{
	if (regime != REGIME_EL1_NORMAL) {
		tlb_drop_regime(tlb, regime);
		return;
	}
	tlb->vmid_stage1[vmid] = tlb->now;
	if (stage2) {
		tlb->vmid_stage2[vmid] = tlb->now;
	}
	tlb->now++;
	tlb->drops++;
}

void tlb_drop_asid(struct tlb *tlb, enum regime regime, uint16_t vmid, uint16_t asid)
{
	for (uint64_t i = 0; i < tlb->capacity; i++) {
		struct tlb_entry *entry = &tlb->entries[i];

		if (entry->kind == TLB_STAGE1 && entry->regime == regime && entry->vmid == vmid && !entry->global &&
		    entry->asid == asid) {
			entry->stamp = 0;
		}
	}
	tlb->drops++;
}

void tlb_drop_address(struct tlb *tlb, struct tlb_context context, uint64_t address, bool any_asid)
{
	for (unsigned i = 0; i < tlb->sizes; i++) {
		uint64_t base = address >> entry_shifts[i] << entry_shifts[i];
		uint64_t slot = hash(TLB_STAGE1, context.regime, context.vmid, base, entry_shifts[i]) &
				(tlb->capacity - 1);

		for (; tlb->entries[slot].serial || tlb->entries[slot].stamp; slot = (slot + 1) & (tlb->capacity - 1)) {
			struct tlb_entry *entry = &tlb->entries[slot];

			if (entry->kind == TLB_STAGE1 && entry->address == base && entry->shift == entry_shifts[i] &&
			    entry->regime == context.regime && entry->vmid == context.vmid &&
			    (any_asid || has_asid(entry, context.asid))) {
				entry->stamp = 0;
			}
		}
	}
	tlb->drops++;
}

void tlb_drop_ipa(struct tlb *tlb, enum regime regime, uint16_t vmid, uint64_t address)
{
	struct tlb_context context = {.regime = regime, .vmid = vmid};
	struct tlb_entry *entry;

	while ((entry = tlb_find(tlb, TLB_STAGE2, context, address))) {
		entry->stamp = 0;
	}
	tlb->drops++;
}
