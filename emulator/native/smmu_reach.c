/*
 * Ranges behind the SMMU. Each page of a master's step is translated, but neighbours mostly stay neighbours: how far the
 * TLB's entries go on together is remembered until one may be gone. What it lacks ends a range, so that walks and faults
 * come page by page, as a single access's do.
 */
#include <stdlib.h>

#include "machine.h"

#define RANGE_BITS 12

struct smmu_range {
	struct tlb_found found;
	uint64_t input;
	uint64_t output;
	uint64_t asked;
	uint64_t bytes; /* 0: nothing is remembered */
	uint16_t vmid;
	bool write;
};

bool smmu_ranges_init(struct smmu *smmu)
{
	smmu->range = calloc(1 << RANGE_BITS, sizeof *smmu->range);
	return smmu->range;
}

void smmu_ranges_forget(struct smmu *smmu)
{
	for (unsigned i = 0; smmu->range && i < 1 << RANGE_BITS; i++) {
		smmu->range[i].bytes = 0;
	}
}

static void measure(struct tlb *tlb, struct smmu_range *range)
{
	const struct tlb_context context = {.regime = REGIME_EL1_NORMAL, .vmid = range->vmid};
	const uint8_t needed = range->write ? PERMIT_WRITE : PERMIT_READ;

	range->found = (struct tlb_found){tlb->drops, tlb->now, false};
	range->bytes = PAGE_SIZE - (range->input & ~PAGE_MASK);
	while (range->bytes < range->asked) {
		const uint64_t input = range->input + range->bytes;
		const struct tlb_entry *entry = tlb_find(tlb, TLB_STAGE2, context, input);

		range->found.lacking = !entry;
		if (!entry || !(entry->permissions & needed) ||
		    entry->output + (input - entry->address) != range->output + range->bytes) {
			return;
		}
		range->bytes += PAGE_SIZE;
	}
	range->bytes = range->asked;
}

static bool is_known(const struct tlb *tlb, const struct smmu_range *known, const struct smmu_range *wanted)
{
	return known->bytes && tlb_still(tlb, &known->found) && known->input == wanted->input &&
	       known->output == wanted->output && known->asked == wanted->asked && known->vmid == wanted->vmid &&
	       known->write == wanted->write;
}

uint64_t smmu_reach(struct machine *machine, uint32_t stream, uint64_t address, uint64_t bytes, bool write,
		    uint64_t *physical)
{
	struct smmu *smmu = &machine->smmu;
	struct smmu_range wanted = {.input = address, .asked = bytes, .write = write};
	struct smmu_range *known;

	if (!smmu_translate(machine, stream, address, write, physical)) {
		return 0;
	}
	if (!smmu_translates(smmu, stream, &wanted.vmid)) {
		return bytes; /* it bypasses the SMMU */
	}
	wanted.output = *physical;
	known = &smmu->range[(address >> PAGE_SHIFT ^ stream) * UINT32_C(0x9e3779b1) >> (32 - RANGE_BITS) &
			     ((1 << RANGE_BITS) - 1)];
	if (!is_known(&smmu->tlb, known, &wanted)) {
		measure(&smmu->tlb, &wanted);
		*known = wanted;
	}
	return known->bytes;
}
