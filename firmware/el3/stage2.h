/* Stage 2 of the normal world and of the storage stream. DRAM is mapped by 4 KiB entries that both share. */
#ifndef STAGE2_H
#define STAGE2_H

#include "ownership.h"

#define VMID_NORMAL 1
#define VMID_STORAGE 2

/* Of VTCR_EL2, and of a stream table entry: 36-bit input and output, level 1 first, cached inner-shareable walks. */
#define STAGE2_T0SZ (64 - 36)
#define STAGE2_SL0_LEVEL1 1
#define STAGE2_CACHED 1
#define STAGE2_SHARED 3
#define STAGE2_PS_36_BITS 1

void stage2_start(const struct dram_layout *layout);
void stage2_map(const struct extent *extent);
void stage2_unmap(const struct extent *extent);
/* Drops what the normal world's TLBs hold of either stage; needed after stage2_unmap. */
void stage2_invalidate(void);

#endif
