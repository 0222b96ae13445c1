/* SMC dispatch (SMCCC 1.5): every call comes in here and its results go out here. */
#include "smc.h"

#include "context.h"
#include "flexmem.h"
#include "identity.h"
#include "panic.h"
#include "psci.h"
#include "recall.h"
#include "secure_entry.h"

#define VECTOR_LOWER_SYNCHRONOUS 8

/* Called by vectors.S. */
void smc_entry(struct context *caller, uint64_t syndrome);

static struct smc_result serve(uint32_t function, const struct smc_args *args)
{
	switch (function) {
	case SMC_SMCCC_VERSION:
		return smccc_version();
	case SMC_SMCCC_ARCH_FEATURES:
		return smccc_arch_features(args);
	case SMC_PSCI_VERSION:
		return psci_version();
	case SMC_PSCI_SYSTEM_OFF:
		psci_system_off();
	case SMC_PSCI_FEATURES:
		return psci_features(args);
	case SMC_FLEX_UID:
		return flex_uid();
	case SMC_FLEX_REVISION:
		return flex_revision();
	case SMC_FLEX_VERSION:
		return flex_version();
	case SMC_FLEX_FEATURES:
		return flex_features(args);
	case SMC_MEM_ALLOCATE:
		return mem_allocate(args);
	case SMC_MEM_LOCK:
		return mem_lock(args);
	case SMC_MEM_RECALL:
		return mem_recall(args);
	case SMC_MEM_RELEASE:
		return mem_release(args);
	case SMC_MEM_RECLAIM:
		return mem_reclaim(args);
	case SMC_MEM_NEXT_RELEASED:
		return mem_next_released(args);
	case SMC_MEM_NEXT_REVOKED:
		return mem_next_revoked(args);
	case SMC_MEM_ACK_REVOKED:
		return mem_ack_revoked(args);
	case SMC_SECURE_CALL:
		return secure_call(args);
	case SMC_SECURE_RESUME:
		return secure_resume(args);
	case SMC_SECURE_DONE:
		return secure_done(args);
	case SMC_SECURE_RPC:
		return secure_rpc(args);
	case SMC_SECURE_READY:
		return secure_ready(args);
	default:
		return smc_status(FLEX_NOT_SUPPORTED);
	}
}

static uint64_t from_level(const struct context *caller)
{
	return caller->spsr >> SPSR_EL_SHIFT & SPSR_EL_MASK;
}

static int permitted(const struct context *caller, uint64_t syndrome, struct smc_row row)
{
	if (syndrome & ESR_SMC_IMMEDIATE) {
		return 0;
	}
	if (from_level(caller) != 1) {
		return 0; /* EL2 is the monitor's own stub, which makes no call */
	}
	if (!(row.by & 1U << context_world(caller))) {
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

void smc_entry(struct context *caller, uint64_t syndrome)
{
	uint32_t function = (uint32_t)caller->x[0] & ~(uint32_t)SMC_HINT;
	struct smc_row row = smc_row(function);
	struct smc_result result;
	struct smc_args args;

	if (syndrome >> ESR_EC_SHIFT != ESR_EC_SMC64) {
		panic_exception(VECTOR_LOWER_SYNCHRONOUS);
	}
	if (!permitted(caller, syndrome, row)) {
		caller->x[0] = (uint64_t)FLEX_NOT_SUPPORTED;
		return;
	}
	args = copy_arguments(caller, function);
	result = serve(function, &args);
	if (context_current() != caller) {
		return; /* the call went to the other world, which has got its registers */
	}
	for (uint32_t i = 0; i < row.results; i++) {
		caller->x[i] = result.x[i];
	}
}
