/* SMC dispatch (SMCCC 1.5): every call comes in here and its results go out here. */
#include "smc.h"

#include "context.h"
#include "driver.h"
#include "flexmem.h"
#include "identity.h"
#include "npu.h"
#include "npu_tables.h"
#include "psci.h"
#include "recall.h"
#include "secure_entry.h"
#include "trap.h"

/* Called by vectors.S, for every synchronous exception of a lower level. */
void smc_entry(struct context *caller, uint64_t syndrome);

struct call {
	struct smc_result (*handler)(const struct smc_args *args);
	uint32_t by;
	uint32_t results;
};

/* A row of the SMC table with the function that serves it. */
#define SERVE(name, function)                                                                                          \
	case SMC_##name: {                                                                                             \
		static const struct call call = {function, SMC_##name##_BY, SMC_##name##_RESULTS};                     \
		return &call;                                                                                          \
	}

static const struct call *find(uint32_t function)
{
	switch (function) {
	SERVE(SMCCC_VERSION, smccc_version)
	SERVE(SMCCC_ARCH_FEATURES, smccc_arch_features)
	SERVE(PSCI_VERSION, psci_version)
	SERVE(PSCI_CPU_SUSPEND_32, psci_cpu_suspend)
	SERVE(PSCI_CPU_OFF, psci_cpu_off)
	SERVE(PSCI_CPU_ON_32, psci_cpu_on)
	SERVE(PSCI_AFFINITY_INFO_32, psci_affinity_info)
	SERVE(PSCI_MIGRATE_INFO_TYPE, psci_migrate_info_type)
	SERVE(PSCI_MIGRATE_INFO_UP_CPU_32, psci_migrate_info_up_cpu)
	SERVE(PSCI_CPU_SUSPEND, psci_cpu_suspend)
	SERVE(PSCI_CPU_ON, psci_cpu_on)
	SERVE(PSCI_AFFINITY_INFO, psci_affinity_info)
	SERVE(PSCI_MIGRATE_INFO_UP_CPU, psci_migrate_info_up_cpu)
	SERVE(PSCI_SYSTEM_OFF, psci_system_off)
	SERVE(PSCI_SYSTEM_RESET, psci_system_reset)
	SERVE(PSCI_FEATURES, psci_features)
	SERVE(FLEX_UID, flex_uid)
	SERVE(FLEX_REVISION, flex_revision)
	SERVE(FLEX_VERSION, flex_version)
	SERVE(FLEX_FEATURES, flex_features)
	SERVE(MEM_ALLOCATE, mem_allocate)
	SERVE(MEM_LOCK, mem_lock)
	SERVE(MEM_RECALL, mem_recall)
	SERVE(MEM_RELEASE, mem_release)
	SERVE(MEM_DECLINE, mem_decline)
	SERVE(MEM_RECLAIM, mem_reclaim)
	SERVE(MEM_NEXT_RELEASED, mem_next_released)
	SERVE(MEM_NEXT_REVOKED, mem_next_revoked)
	SERVE(MEM_ACK_REVOKED, mem_ack_revoked)
	SERVE(SECURE_CALL, secure_call)
	SERVE(SECURE_RESUME, secure_resume)
	SERVE(SECURE_DONE, secure_done)
	SERVE(SECURE_RPC, secure_rpc)
	SERVE(SECURE_READY, secure_ready)
	SERVE(NPU_MAP, npu_map)
	SERVE(NPU_UNMAP, npu_unmap)
	SERVE(NPU_ACQUIRE, npu_acquire)
	SERVE(NPU_RELEASE, npu_release)
	SERVE(NPU_RECALL, npu_recall)
	SERVE(NPU_RECLAIM, npu_reclaim)
	SERVE(DRIVER_CALL, driver_call)
	SERVE(DRIVER_RETURN, driver_return)
	SERVE(DRIVER_READY, driver_ready)
	default:
		return NULL;
	}
}

static uint64_t from_level(const struct context *caller)
{
	return caller->spsr >> SPSR_EL_SHIFT & SPSR_EL_MASK;
}

static int permitted(const struct context *caller, uint64_t syndrome, const struct call *call)
{
	if (!call) {
		return 0;
	}
	if (syndrome & ESR_SMC_IMMEDIATE) {
		return 0;
	}
	if (from_level(caller) != 1) {
		return 0; /* EL2 is the monitor's own stub: see stub_call */
	}
	if (!(call->by & 1U << context_world(caller))) {
		return 0;
	}
	return 1;
}

static struct smc_args copy_arguments(const struct context *caller, uint32_t function)
{
	uint64_t mask = function & SMC_64 ? UINT64_MAX : UINT32_MAX;

	return (struct smc_args){
		.x1 = caller->x[1] & mask,
		.x2 = caller->x[2] & mask,
		.x3 = caller->x[3] & mask,
		.x4 = caller->x[4] & mask,
		.x5 = caller->x[5] & mask,
	};
}

/* The stub's only call: stage 2 has refused an access of the driver context. In the normal world it makes none. */
static int stub_call(struct context *caller)
{
	if (from_level(caller) != 2 || context_world(caller) != WORLD_DRIVER) {
		return 0;
	}
	driver_fault();
	return 1;
}

/*
 * A call that enters the other world leaves its results in a context that is not resumed before the way back, which sets
 * those registers anew.
 */
void smc_entry(struct context *caller, uint64_t syndrome)
{
	uint32_t function = (uint32_t)caller->x[0] & ~(uint32_t)SMC_HINT;
	const struct call *call = find(function);
	struct smc_result result;
	struct smc_args args;

	if (syndrome >> ESR_EC_SHIFT != ESR_EC_SMC64) {
		trapped(caller);
		return;
	}
	if (stub_call(caller)) {
		return;
	}
	if (!permitted(caller, syndrome, call)) {
		caller->x[0] = (uint64_t)FLEX_NOT_SUPPORTED;
		return;
	}
	args = copy_arguments(caller, function);
	result = call->handler(&args);
	for (uint32_t i = 0; i < call->results; i++) {
		caller->x[i] = result.x[i];
	}
}
