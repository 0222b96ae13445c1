#include "driver.h"

#include "context.h"
#include "deadline.h"
#include "interrupt.h"
#include "npu.h"
#include "panic.h"
#include "stage2.h"

#define INSTRUCTION_BYTES 4
#define REGISTERS 31

static uint64_t entry;
static uint64_t driver_is_ready;
static uint64_t in_call; /* its registers are those of a call that has not returned: it runs, or it is interrupted */
static uint64_t time_left; /* ticks of the present call, from when it runs */
static uint64_t driver_deadline;
static uint64_t booted_el1[CONTEXT_EL1_COUNT];

static void pass(struct context *to, uint64_t status, const struct smc_args *args)
{
	to->x[0] = status;
	to->x[1] = args->x1;
	to->x[2] = args->x2;
	to->x[3] = args->x3;
	to->x[4] = args->x4;
	to->x[5] = args->x5;
}

/* Of what it had computed nothing is left in its registers but EL1's. */
static void clear(struct context *driver)
{
	for (unsigned i = 0; i < REGISTERS; i++) {
		driver->x[i] = 0;
	}
}

static void leave(void)
{
	stage2_leave_driver();
	world_switch(&contexts[WORLD_DRIVER], &contexts[WORLD_SECURE]);
	deadline_for_secure();
	in_call = 0;
}

struct smc_result driver_call(const struct smc_args *args)
{
	struct context *driver = &contexts[WORLD_DRIVER];

	if (!npu_is_secure()) {
		return smc_status(FLEX_WRONG_STATE);
	}
	if (in_call) {
		return smc_status(FLEX_BUSY);
	}
	interrupt_done();
	clear(driver);
	pass(driver, 0, args);
	driver->elr = entry;
	driver->spsr = SPSR_EL1H_MASKED;
	in_call = 1;
	time_left = DRIVER_TICKS;
	world_switch(&contexts[WORLD_SECURE], driver);
	driver_go_on();
	return smc_status(FLEX_SUCCESS);
}

struct smc_result driver_return(const struct smc_args *args)
{
	if (!driver_is_ready) {
		return smc_status(FLEX_WRONG_STATE); /* still booting: nobody has called */
	}
	interrupt_done();
	pass(&contexts[WORLD_SECURE], FLEX_SUCCESS, args);
	leave();
	return smc_status(FLEX_SUCCESS);
}

/* The secure world's first entry, which boot has prepared, follows. */
struct smc_result driver_ready(const struct smc_args *args)
{
	struct context *driver = &contexts[WORLD_DRIVER];

	if (driver_is_ready) {
		return smc_status(FLEX_WRONG_STATE);
	}
	if (args->x1 % INSTRUCTION_BYTES) {
		return smc_status(FLEX_INVALID_PARAMETER);
	}
	entry = args->x1;
	driver_is_ready = 1;
	leave();
	for (unsigned i = 0; i < CONTEXT_EL1_COUNT; i++) {
		booted_el1[i] = driver->el1[i];
	}
	return smc_status(FLEX_SUCCESS);
}

/* Its memory stays as it left it: that is its own affair. */
static void restart(struct context *driver)
{
	for (unsigned i = 0; i < CONTEXT_EL1_COUNT; i++) {
		driver->el1[i] = booted_el1[i];
	}
	for (unsigned i = 0; i < sizeof driver->v / sizeof driver->v[0]; i++) {
		driver->v[i][0] = 0;
		driver->v[i][1] = 0;
	}
	driver->fpcr = 0;
	driver->fpsr = 0;
}

static void stop(int64_t status)
{
	static const struct smc_args nothing;

	if (!driver_is_ready) {
		panic("driver: the driver context faults while it boots");
	}
	pass(&contexts[WORLD_SECURE], (uint64_t)status, &nothing);
	leave();
	restart(&contexts[WORLD_DRIVER]);
}

void driver_fault(void)
{
	stop(FLEX_FAULT);
}

int driver_timed_out(void)
{
	if (counter() < driver_deadline) {
		return 0;
	}
	stop(FLEX_TIMEOUT);
	return 1;
}

void driver_pause(void)
{
	uint64_t now = counter();

	time_left = now < driver_deadline ? driver_deadline - now : 0;
	stage2_leave_driver();
}

void driver_watch(void)
{
	deadline_for_driver(driver_deadline);
}

void driver_go_on(void)
{
	driver_deadline = counter() + time_left;
	driver_watch();
	stage2_enter_driver();
}
