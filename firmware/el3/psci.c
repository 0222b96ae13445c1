#include "psci.h"

#include "memory_map.h"
#include "registers.h"
#include "sysreg.h"

#define STANDBY 0
#define CORE_LEVEL 0
#define NOT_MIGRATING_TRUSTED_OS 1
#define MPIDR_AFFINITY UINT64_C(0xff00ffffff)

struct smc_result psci_version(const struct smc_args *args)
{
	return (struct smc_result){{PSCI_VERSION}};
}

static uint64_t this_core(void)
{
	return READ_SYSREG(mpidr_el1) & MPIDR_AFFINITY;
}

/* An interrupt that is pending, masked or not, ends it. */
struct smc_result psci_cpu_suspend(const struct smc_args *args)
{
	if (args->x1 != STANDBY) {
		return smc_status(PSCI_INVALID_PARAMETERS);
	}
	dsb_system();
	__asm__ volatile("wfi" : : : "memory");
	return smc_status(PSCI_SUCCESS);
}

struct smc_result psci_cpu_off(const struct smc_args *args)
{
	return smc_status(PSCI_DENIED);
}

struct smc_result psci_cpu_on(const struct smc_args *args)
{
	return smc_status(args->x1 == this_core() ? PSCI_ALREADY_ON : PSCI_INVALID_PARAMETERS);
}

struct smc_result psci_affinity_info(const struct smc_args *args)
{
	return smc_status(args->x1 == this_core() && args->x2 == CORE_LEVEL ? PSCI_SUCCESS : PSCI_INVALID_PARAMETERS);
}

struct smc_result psci_migrate_info_type(const struct smc_args *args)
{
	return (struct smc_result){{NOT_MIGRATING_TRUSTED_OS}};
}

struct smc_result psci_migrate_info_up_cpu(const struct smc_args *args)
{
	return (struct smc_result){{this_core()}};
}

struct smc_result psci_features(const struct smc_args *args)
{
	switch (args->x1) {
	case SMC_PSCI_VERSION:
	case SMC_PSCI_CPU_SUSPEND:
	case SMC_PSCI_CPU_SUSPEND_32:
	case SMC_PSCI_CPU_OFF:
	case SMC_PSCI_CPU_ON:
	case SMC_PSCI_CPU_ON_32:
	case SMC_PSCI_AFFINITY_INFO:
	case SMC_PSCI_AFFINITY_INFO_32:
	case SMC_PSCI_MIGRATE_INFO_TYPE:
	case SMC_PSCI_MIGRATE_INFO_UP_CPU:
	case SMC_PSCI_MIGRATE_INFO_UP_CPU_32:
	case SMC_PSCI_SYSTEM_OFF:
	case SMC_PSCI_SYSTEM_RESET:
	case SMC_PSCI_FEATURES:
	case SMC_SMCCC_VERSION:
		return smc_status(PSCI_SUCCESS);
	default:
		return smc_status(PSCI_NOT_SUPPORTED);
	}
}

static _Noreturn void power_off(uint32_t how)
{
	device_write(TRUSTED_BASE + TRUSTED_POWER_OFF, how);
	dsb_system();
	for (;;) {
		__asm__ volatile("wfi");
	}
}

struct smc_result psci_system_off(const struct smc_args *args)
{
	power_off(TRUSTED_POWER_OFF_OFF_MASK);
}

struct smc_result psci_system_reset(const struct smc_args *args)
{
	power_off(TRUSTED_POWER_OFF_RESET_MASK);
}
