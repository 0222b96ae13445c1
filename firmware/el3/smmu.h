/* SMMUv3 (Arm IHI 0070): linear stream table, stage 2 for storage and the NPU's cores, abort for every other stream. */
#ifndef SMMU_H
#define SMMU_H

#include "ownership.h"

void smmu_start(const struct dram_layout *layout);
/* Drops the pages from the SMMU's TLB and waits for DMA that was translated before; bounded, or a panic. */
void smmu_invalidate(const struct extent *extent);
/* Drops a page of the NPU's in secure mode; done once smmu_wait has returned, which also waits for DMA under way. */
void smmu_forget_npu_page(uint64_t iova);
void smmu_wait(void);
/* Which table the NPU's streams use: the LOCKED pages that NPU_MAP put there, or the one of storage. */
void smmu_move_npu(int secure);

#endif
