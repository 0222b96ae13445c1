/*
 * Ways into and out of the secure world. S-EL1 keeps its own threads: it is always entered at the entry that it
 * registered, with what is pending, and nothing of where it left is resumed but its EL1 and vector registers.
 */
#ifndef SECURE_ENTRY_H
#define SECURE_ENTRY_H

#include "smc.h"

struct smc_result secure_call(const struct smc_args *args);
struct smc_result secure_resume(const struct smc_args *args);
struct smc_result secure_done(const struct smc_args *args);
struct smc_result secure_rpc(const struct smc_args *args);
struct smc_result secure_ready(const struct smc_args *args);

#endif
