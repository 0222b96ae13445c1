#include "npu.h"

#include "gic.h"
#include "interrupt.h"
#include "memory_map.h"
#include "panic.h"
#include "registers.h"
#include "smmu.h"
#include "stage2.h"
#include "sysreg.h"

#define CORES 3
#define ALL_CORES 7

/* DRAINING: the normal world has lost the registers, and the job that it had started goes on for a while. */
static enum { NORMAL, DRAINING, SECURE } npu_mode;
static uint64_t drain_end;
static struct gic_settings normals[CORES]; /* of its interrupts, while the NPU is secure */
static uint64_t npu_recalled;
static uint64_t npu_deadline; /* CNTPCT_EL0; means nothing while it is not recalled */
static uint64_t npu_told;
static uint64_t revoked;

int npu_is_secure(void)
{
	return npu_mode == SECURE;
}

uint64_t npu_pending(void)
{
	return (npu_recalled ? PENDING_NPU_RECALL : 0) | (revoked ? PENDING_NPU_REVOKED : 0);
}

uint64_t npu_recall_deadline(void)
{
	return npu_recalled && !npu_told ? npu_deadline : UINT64_MAX;
}

void npu_recall_told(void)
{
	npu_told = 1;
}

static uint32_t jobs_in_flight(void)
{
	return device_read(NPU_CONTROL_BASE + NPU_CONTROL_STATUS) & ALL_CORES;
}

/*
 * As out of reset: jobs aborted, registers and buffers zero, interrupt lines low, cores off. Whoever comes next finds
 * nothing, and begins as after power-on. Nobody reaches a register at this point, so no job can begin behind it.
 */
static void scrub(void)
{
	device_write(NPU_CONTROL_BASE + NPU_CONTROL_RESET, ALL_CORES);
	device_write(NPU_CONTROL_BASE + NPU_CONTROL_CLOCK, 0);
	device_write(NPU_CONTROL_BASE + NPU_CONTROL_POWER, 0);
	dsb_system();
	if (jobs_in_flight()) {
		panic("npu: a job survives a reset");
	}
}

/* Group 0 while the NPU is secure: the normal world neither sees nor changes them then, and finds them as it had them. */
static void take_interrupts(void)
{
	for (unsigned core = 0; core < CORES; core++) {
		normals[core] = gic_take(INTERRUPT_NPU0 + core);
	}
	dsb_system();
}

static void give_interrupts_back(void)
{
	interrupt_done();
	for (unsigned core = 0; core < CORES; core++) {
		gic_give_back(INTERRUPT_NPU0 + core, normals[core]);
	}
	dsb_system();
}

struct smc_result npu_acquire(const struct smc_args *args)
{
	if (npu_mode == SECURE) {
		return smc_status(FLEX_WRONG_STATE);
	}
	if (npu_mode == NORMAL) {
		stage2_move_npu(NPU_IN_NEITHER);
		drain_end = counter() + NPU_DRAIN_TICKS;
		npu_mode = DRAINING;
	}
	if (jobs_in_flight() && counter() < drain_end) {
		return smc_status(FLEX_BUSY);
	}
	scrub();
	smmu_move_npu(1);
	take_interrupts();
	stage2_move_npu(NPU_IN_DRIVER);
	npu_mode = SECURE;
	revoked = 0;
	return smc_status(FLEX_SUCCESS);
}

/* From either of the other modes: a normal job that was let drain is the normal world's again, whole. */
static void give_back(void)
{
	if (npu_mode == SECURE) {
		stage2_move_npu(NPU_IN_NEITHER);
		scrub();
		smmu_move_npu(0);
		give_interrupts_back();
	}
	stage2_move_npu(NPU_IN_NORMAL);
	npu_mode = NORMAL;
	npu_recalled = 0;
}

struct smc_result npu_release(const struct smc_args *args)
{
	if (npu_mode == NORMAL) {
		return smc_status(FLEX_WRONG_STATE);
	}
	give_back();
	return smc_status(FLEX_SUCCESS);
}

struct smc_result npu_recall(const struct smc_args *args)
{
	uint64_t ticks = args->x1, now = counter();

	if (ticks < MINIMUM_DEADLINE || ticks > UINT64_MAX - now) {
		return smc_status(FLEX_INVALID_PARAMETER);
	}
	if (npu_mode == NORMAL) {
		return (struct smc_result){{FLEX_SUCCESS, 0}};
	}
	if (!npu_recalled || now + ticks < npu_deadline) {
		npu_deadline = now + ticks;
	}
	npu_told = npu_recalled ? npu_told : 0;
	npu_recalled = 1;
	return (struct smc_result){{FLEX_SUCCESS, npu_deadline}};
}

struct smc_result npu_reclaim(const struct smc_args *args)
{
	if (!npu_recalled) {
		return smc_status(FLEX_NOT_OWED);
	}
	if (counter() < npu_deadline) {
		return smc_status(FLEX_NOT_DUE);
	}
	give_back();
	revoked = 1;
	return smc_status(FLEX_SUCCESS);
}
