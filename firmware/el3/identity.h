/* Calls that say what this monitor is. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "smc.h"

struct smc_result smccc_version(const struct smc_args *args);
struct smc_result smccc_arch_features(const struct smc_args *args);
struct smc_result flex_uid(const struct smc_args *args);
struct smc_result flex_revision(const struct smc_args *args);
struct smc_result flex_version(const struct smc_args *args);
struct smc_result flex_features(const struct smc_args *args);

#endif
