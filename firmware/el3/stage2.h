/*
 * Stage 2 of the normal world, of its DMA masters, and of the driver context. Normal DRAM is mapped by 4 KiB entries that
 * the first two share.
 */
#ifndef STAGE2_H
#define STAGE2_H

#include "ownership.h"

/* Of VTCR_EL2, and of a stream table entry: 36-bit input and output, level 1 first, cached inner-shareable walks. */
#define STAGE2_T0SZ (64 - 36)
#define STAGE2_SL0_LEVEL1 1
#define STAGE2_CACHED 1
#define STAGE2_SHARED 3
#define STAGE2_PS_36_BITS 1

/* VMSAv8-64 stage-2 descriptors (Arm ARM D8.3). */
#define STAGE2_TABLE 3
#define STAGE2_PAGE 3
#define STAGE2_ADDRESS UINT64_C(0x0000fffffffff000)
#define STAGE2_WRITE (2 << 6)
#define STAGE2_READ_WRITE (3 << 6)
#define STAGE2_ACCESS_FLAG (1 << 10)
#define STAGE2_DRAM_PAGE (STAGE2_PAGE | 0xf << 2 | STAGE2_READ_WRITE | 3 << 8 | STAGE2_ACCESS_FLAG) /* write-back, shared */

enum npu_view { NPU_IN_NEITHER, NPU_IN_NORMAL, NPU_IN_DRIVER };

void stage2_start(const struct dram_layout *layout);
void stage2_map(const struct extent *extent);
void stage2_unmap(const struct extent *extent);
/* Drops what the normal world's TLBs hold of either stage; needed after stage2_unmap. */
void stage2_invalidate(void);
/* Which table of the core's has the NPU's registers; what loses them loses its TLB entries, too. */
void stage2_move_npu(enum npu_view to);
/* Whose table the next ERET to NS-EL1 finds. In the secure world and on every entry but the driver's: the normal world's. */
void stage2_enter_driver(void);
void stage2_leave_driver(void);

#endif
