#include "psci.h"

#include "memory_map.h"
#include "registers.h"
#include "sysreg.h"

struct smc_result psci_version(const struct smc_args *args)
{
	return (struct smc_result){{PSCI_VERSION}};
}

struct smc_result psci_features(const struct smc_args *args)
{
	switch (args->x1) {
	case SMC_PSCI_VERSION:
	case SMC_PSCI_SYSTEM_OFF:
	case SMC_PSCI_FEATURES:
	case SMC_SMCCC_VERSION:
		return smc_status(FLEX_SUCCESS);
	default:
		return smc_status(FLEX_NOT_SUPPORTED);
	}
}

struct smc_result psci_system_off(const struct smc_args *args)
{
	device_write(TRUSTED_BASE + TRUSTED_POWER_OFF, TRUSTED_POWER_OFF_OFF_MASK);
	dsb_system();
	for (;;) {
		__asm__ volatile("wfi");
	}
}
