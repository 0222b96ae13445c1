/* SMMUv3 (Arm IHI 0070): linear stream table, stage 2 for the storage stream, abort for every other. */
#ifndef SMMU_H
#define SMMU_H

#include "ownership.h"

void smmu_start(const struct dram_layout *layout);
/* Drops the pages from the SMMU's TLB and waits for DMA that was translated before; bounded, or a panic. */
void smmu_invalidate(const struct extent *extent);

#endif
