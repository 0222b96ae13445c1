/* PSCI 1.1 (Arm DEN 0022): its mandatory calls, as one core answers them. */
#ifndef PSCI_H
#define PSCI_H

#include "smc.h"

struct smc_result psci_version(const struct smc_args *args);
struct smc_result psci_cpu_suspend(const struct smc_args *args);
struct smc_result psci_cpu_off(const struct smc_args *args);
struct smc_result psci_cpu_on(const struct smc_args *args);
struct smc_result psci_affinity_info(const struct smc_args *args);
struct smc_result psci_migrate_info_type(const struct smc_args *args);
struct smc_result psci_migrate_info_up_cpu(const struct smc_args *args);
struct smc_result psci_features(const struct smc_args *args);
struct smc_result psci_system_off(const struct smc_args *args);
struct smc_result psci_system_reset(const struct smc_args *args);

#endif
