/*
 * SMMUv3, stage 2 only, as the DMA masters see it (IHI 0070). Stream table entries and translations are cached and
 * leave by command only: no broadcast of the core's reaches them, and changing a table in memory changes nothing here.
 */
#ifndef SMMU_H
#define SMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "smmu_api.h"
#include "smmu_registers.h"
#include "tlb.h"

/* A field of a register or structure word, by its name in smmu_registers.h. */
#define FIELD(value, name) (((value) & name##_MASK) >> name##_SHIFT)

#define SMMU_STREAMS (1 << FIELD(SMMU_IDR1_RESET, SMMU_IDR1_SIDSIZE))
#define SMMU_STE_WORDS 8
#define SMMU_STE_USED 4 /* words that a stage-2 stream uses */

struct smmu_stream {
	bool cached;
	uint64_t word[SMMU_STE_USED];
};

struct smmu_range;

struct smmu {
	bool attached;
	struct smmu_registers registers;
	struct smmu_stream stream[SMMU_STREAMS];
	struct tlb tlb; /* stage 2 only, by VMID */
	struct smmu_range *range; /* see smmu_reach.c */
};

extern const struct master smmu_walker;

/* A queue in memory. Indices have one bit more than they need: it tells a full queue from an empty one (3.5.1). */
struct smmu_queue {
	uint64_t base;
	uint32_t entries;
	uint32_t wrapping; /* mask of an index with its wrap bit */
};

struct smmu_queue smmu_queue(uint64_t base_register, unsigned entry_bytes);
void smmu_global_error(struct smmu_registers *registers, uint32_t error);
void smmu_release(struct machine *machine);
bool smmu_ranges_init(struct smmu *smmu);
/* The TLB has become another. */
void smmu_ranges_forget(struct smmu *smmu);
/* Whether a stream whose access has just been translated went through stage 2, and as which VMID. */
bool smmu_translates(const struct smmu *smmu, uint32_t stream, uint16_t *vmid);
/*
 * Translates the first of some bytes, as smmu_translate does: how many of them, from there on, would be translated
 * likewise and lie together in physical memory; 0: the first was refused.
 */
uint64_t smmu_reach(struct machine *machine, uint32_t stream, uint64_t address, uint64_t bytes, bool write,
		    uint64_t *physical);

#endif
