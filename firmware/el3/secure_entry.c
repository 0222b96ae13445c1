#include "secure_entry.h"

#include "context.h"
#include "deadline.h"
#include "interrupt.h"
#include "npu.h"
#include "ownership.h"
#include "preempt.h"
#include "recall.h"

#define INSTRUCTION_BYTES 4

static uint64_t entry;
static uint64_t revocation_entry;
static uint64_t secure_is_ready;

static void pass_arguments(struct context *to, const struct smc_args *args)
{
	to->x[1] = args->x1;
	to->x[2] = args->x2;
	to->x[3] = args->x3;
	to->x[4] = args->x4;
	to->x[5] = args->x5;
}

static uint64_t pending(uint64_t reason)
{
	return reason | npu_pending() | (interrupt_noted() ? PENDING_FIQ : 0) |
	       (preempt_in_handler() ? PENDING_PREEMPTED : 0) | (ownership_revoked() ? PENDING_REVOKED : 0) |
	       (recall_owed() ? PENDING_RECALL : 0);
}

static struct smc_result enter(uint64_t reason, const struct smc_args *args)
{
	struct context *secure = &contexts[WORLD_SECURE];

	for (unsigned i = 0; i < sizeof secure->x / sizeof secure->x[0]; i++) {
		secure->x[i] = 0;
	}
	secure->x[0] = pending(reason);
	pass_arguments(secure, args);
	secure->x[6] = recall_owed();
	secure->elr = ownership_revoked() ? revocation_entry : entry;
	secure->spsr = SPSR_EL1H_MASKED;
	world_switch(&contexts[WORLD_NORMAL], secure);
	deadline_for_secure();
	return smc_status(FLEX_SUCCESS);
}

/*
 * How the secure world hears of a recall or a revocation. While a thread waits interrupted it is entered for a revocation
 * only, once: that is what must not wait for the thread.
 */
struct smc_result secure_call(const struct smc_args *args)
{
	if (preempt_waiting()) {
		if (preempt_waiting_handler() || !ownership_revoked()) {
			return smc_status(FLEX_BUSY);
		}
		preempt_begin_handler();
	}
	return enter(PENDING_NEW_CALL, args);
}

static struct smc_result resume_interrupted(void)
{
	if (!preempt_waiting()) {
		return smc_status(FLEX_WRONG_STATE);
	}
	if (ownership_revoked() && !preempt_waiting_handler()) {
		return smc_status(FLEX_BUSY);
	}
	preempt_resume();
	return smc_status(FLEX_SUCCESS);
}

/* A thread that computes on a page that FORCE took must not go on before the secure world knows. */
struct smc_result secure_resume(const struct smc_args *args)
{
	if (args->x1 == INTERRUPTED_THREAD) {
		return resume_interrupted();
	}
	if (ownership_revoked() || preempt_waiting()) {
		return smc_status(FLEX_BUSY);
	}
	return enter(PENDING_RPC_REPLY, args);
}

static struct smc_result leave(int64_t status, const struct smc_args *args)
{
	struct context *normal = &contexts[WORLD_NORMAL];

	if (!secure_is_ready) {
		return smc_status(FLEX_WRONG_STATE); /* still booting: nobody has called */
	}
	normal->x[0] = (uint64_t)status;
	pass_arguments(normal, args);
	deadline_none();
	world_switch(&contexts[WORLD_SECURE], normal);
	preempt_end_handler();
	return smc_status(FLEX_SUCCESS);
}

struct smc_result secure_done(const struct smc_args *args)
{
	return leave(FLEX_SUCCESS, args);
}

struct smc_result secure_rpc(const struct smc_args *args)
{
	return leave(FLEX_RPC, args);
}

/* The normal world's first entry, which boot has prepared, follows. */
struct smc_result secure_ready(const struct smc_args *args)
{
	if (secure_is_ready) {
		return smc_status(FLEX_WRONG_STATE);
	}
	if (args->x1 % INSTRUCTION_BYTES || args->x2 % INSTRUCTION_BYTES) {
		return smc_status(FLEX_INVALID_PARAMETER);
	}
	entry = args->x1;
	revocation_entry = args->x2;
	secure_is_ready = 1;
	world_switch(&contexts[WORLD_SECURE], &contexts[WORLD_NORMAL]);
	return smc_status(FLEX_SUCCESS);
}
