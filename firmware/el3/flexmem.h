/* The MEM_* calls: clip, check the whole window, then commit. */
#ifndef FLEXMEM_H
#define FLEXMEM_H

#include "smc.h"

struct smc_result mem_allocate(const struct smc_args *args);
struct smc_result mem_lock(const struct smc_args *args);
struct smc_result mem_release(const struct smc_args *args);
struct smc_result mem_decline(const struct smc_args *args);
struct smc_result mem_reclaim(const struct smc_args *args);
struct smc_result mem_next_released(const struct smc_args *args);
struct smc_result mem_next_revoked(const struct smc_args *args);
struct smc_result mem_ack_revoked(const struct smc_args *args);

#endif
