/*
 * Whose the NPU is. Exclusive: its registers are in one stage-2 table of the core's, its streams use one table of the
 * SMMU's, its interrupts are in one group. docs/npu.md has the order of a switch and its reasons.
 */
#ifndef NPU_H
#define NPU_H

#include "smc.h"

struct smc_result npu_acquire(const struct smc_args *args);
struct smc_result npu_release(const struct smc_args *args);
struct smc_result npu_recall(const struct smc_args *args);
struct smc_result npu_reclaim(const struct smc_args *args);
int npu_is_secure(void);
/* As recall_deadline and recall_told. */
uint64_t npu_recall_deadline(void);
void npu_recall_told(void);
/* NPU_RECALL and NPU_REVOKED of an entry into the secure world. */
uint64_t npu_pending(void);

#endif
