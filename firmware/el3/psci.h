/* PSCI 1.1 (Arm DEN 0022), as far as one core goes. */
#ifndef PSCI_H
#define PSCI_H

#include "smc.h"

struct smc_result psci_version(const struct smc_args *args);
struct smc_result psci_features(const struct smc_args *args);
struct smc_result psci_system_off(const struct smc_args *args);

#endif
