/*
 * Recall: the normal world's claim to pages back. `owed` never exceeds the pages that are LOCKED or ALLOCATED; after the
 * deadline the normal world may take that many by force.
 */
#ifndef RECALL_H
#define RECALL_H

#include "smc.h"

struct smc_result mem_recall(const struct smc_args *args);
uint64_t recall_owed(void);
/* SUCCESS if `pages` LOCKED pages may be taken by force now. */
int64_t recall_may_force(uint64_t pages);
/* When the secure world is to be interrupted for it, at the most once; UINT64_MAX: nothing is owed, or it was told. */
uint64_t recall_deadline(void);
void recall_told(void);
/* Pages came back: the claim shrinks by them, and to what is left to claim. */
void recall_paid(uint64_t pages);

#endif
