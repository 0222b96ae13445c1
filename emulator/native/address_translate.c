/* AT instructions, and the same question asked by a test. */
#include "machine.h"

#define PAR_FAULT 1
#define PAR_RES1 (UINT64_C(1) << 11)

#define NON_CACHEABLE 4
#define OUTER_SHAREABLE 2
#define NORMAL_NON_CACHEABLE 0x44

/* MemAttr of stage 2 as MAIR_ELx would say it. */
static unsigned stage2_attributes(unsigned memory_type)
{
	unsigned outer = memory_type >> 2, inner = memory_type & 3;

	if (!outer) {
		return inner << 2; /* Device */
	}
	return outer << 6 | (outer == 1 ? 0 : 3) << 4 | inner << 2 | (inner == 1 ? 0 : 3);
}

/* Non-cacheable wins, then write-through; the allocation hints are those of stage 1 (Arm ARM D8.6). */
static unsigned combine_cacheability(unsigned first, unsigned second)
{
	if (first == NON_CACHEABLE || second == NON_CACHEABLE) {
		return NON_CACHEABLE;
	}
	return second >> 2 == 2 && first >> 2 & 1 ? 2 << 2 | (first & 3) : first;
}

/* Device wins, and of two kinds the stricter one. */
static unsigned combine_attributes(unsigned first, unsigned second)
{
	if (!(first >> 4) || !(second >> 4)) {
		unsigned one = first >> 4 ? 0xc : first & 0xf, other = second >> 4 ? 0xc : second & 0xf;

		return one < other ? one : other;
	}
	return combine_cacheability(first >> 4, second >> 4) << 4 | combine_cacheability(first & 0xf, second & 0xf);
}

static void combine_stages(struct translation *translation)
{
	unsigned first = translation->shareability, second = translation->stage2_shareability;

	translation->attributes = (uint8_t)combine_attributes(translation->attributes, stage2_attributes(translation->memory_type));
	if (translation->attributes < 0x10 || translation->attributes == NORMAL_NON_CACHEABLE || first == OUTER_SHAREABLE ||
	    second == OUTER_SHAREABLE) {
		translation->shareability = OUTER_SHAREABLE;
	} else {
		translation->shareability = (uint8_t)(first | second);
	}
}

/* Arm ARM, "Address translation instructions": op1 names the EL, op2 the kind of access. */
bool address_translate(struct machine *machine, unsigned op1, unsigned op2, uint64_t address, struct fault *fault)
{
	bool both = op1 == 4 && op2 >= 4;
	unsigned level = op1 == 6 ? 3 : op1 == 4 && !both ? 2 : op2 & 2 ? 0 : 1;
	enum access access = op2 & 1 ? ACCESS_WRITE : ACCESS_READ;
	struct translation translation;
	uint64_t par;

	if (translate_stages(machine, address, access, level, both, &translation, fault)) {
		if (translation.two_stages) {
			combine_stages(&translation);
		}
		par = (translation.address & PAGE_MASK) | (uint64_t)translation.attributes << 56 | PAR_RES1 |
		      (uint64_t)translation.non_secure << 9 | (uint64_t)translation.shareability << 7;
	} else if ((fault->status & ~3) == FSC_EXTERNAL_WALK || (fault->stage1_walk && current_level(machine) == 1)) {
		return false; /* a bus error, or a stage-2 fault on a walk for EL1, is not for PAR (Arm ARM D8.12) */
	} else {
		par = PAR_FAULT | PAR_RES1 | (uint64_t)fault->status << 1 | (uint64_t)fault->stage1_walk << 8 |
		      (uint64_t)fault->stage2 << 9;
	}
	set_sysreg(machine, PAR_EL1, par);
	return true;
}

void translate_probe(struct machine *machine, uint64_t address, unsigned access, unsigned level, struct probe *probe)
{
	struct translation translation = {0};
	struct fault fault;

	probe->allowed = translate(machine, address, (enum access)access, level, &translation, &fault);
	probe->physical = translation.address;
	probe->non_secure = translation.non_secure;
	probe->syndrome = fault.status | (uint64_t)fault.stage1_walk << 7 | (uint64_t)fault.stage2 << 8;
	probe->ipa = fault.ipa;
}
