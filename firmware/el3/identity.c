#include "identity.h"

struct smc_result smccc_version(const struct smc_args *args)
{
	return (struct smc_result){{SMCCC_VERSION}};
}

struct smc_result smccc_arch_features(const struct smc_args *args)
{
	switch (args->x1) {
	case SMC_SMCCC_VERSION:
	case SMC_SMCCC_ARCH_FEATURES:
		return smc_status(FLEX_SUCCESS);
	default:
		return smc_status(FLEX_NOT_SUPPORTED);
	}
}

struct smc_result flex_uid(const struct smc_args *args)
{
	return (struct smc_result){{FLEX_UID_0, FLEX_UID_1, FLEX_UID_2, FLEX_UID_3}};
}

struct smc_result flex_revision(const struct smc_args *args)
{
	return (struct smc_result){{FLEX_VERSION_MAJOR, FLEX_VERSION_MINOR}};
}

struct smc_result flex_version(const struct smc_args *args)
{
	return (struct smc_result){{FLEX_VERSION_MAJOR << 16 | FLEX_VERSION_MINOR}};
}

struct smc_result flex_features(const struct smc_args *args)
{
	switch (args->x1) {
	case FEATURE_PAGES_PER_CALL:
		return (struct smc_result){{FLEX_SUCCESS, PAGES_PER_CALL}};
	case FEATURE_MINIMUM_DEADLINE:
		return (struct smc_result){{FLEX_SUCCESS, MINIMUM_DEADLINE}};
	case FEATURE_MAX_CALL_INSTRUCTIONS:
		return (struct smc_result){{FLEX_SUCCESS, MAX_CALL_INSTRUCTIONS}};
	case FEATURE_SCAN_PAGES:
		return (struct smc_result){{FLEX_SUCCESS, SCAN_PAGES}};
	case FEATURE_NPU_DRAIN_TICKS:
		return (struct smc_result){{FLEX_SUCCESS, NPU_DRAIN_TICKS}};
	case FEATURE_DRIVER_TICKS:
		return (struct smc_result){{FLEX_SUCCESS, DRIVER_TICKS}};
	case FEATURE_MAX_SWITCH_INSTRUCTIONS:
		return (struct smc_result){{FLEX_SUCCESS, MAX_SWITCH_INSTRUCTIONS}};
	default:
		return smc_status(FLEX_INVALID_PARAMETER);
	}
}
