/*
 * The NPU's addresses in secure mode: a stage-2 table of its own from IOVA to LOCKED pages, and the reverse table, which
 * says of every page of DRAM at which IOVA it is. A page that leaves LOCKED leaves both.
 */
#ifndef NPU_TABLES_H
#define NPU_TABLES_H

#include "ownership.h"
#include "smc.h"

void npu_tables_start(const struct dram_layout *layout);
struct smc_result npu_map(const struct smc_args *args);
struct smc_result npu_unmap(const struct smc_args *args);
/* Unmaps these pages wherever the NPU has them, and waits for DMA that uses them. */
void npu_tables_forget(const struct extent *extent);

#endif
