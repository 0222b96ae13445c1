#include "preempt.h"

#include "deadline.h"
#include "driver.h"
#include "smc.h"
#include "stage2.h"

enum { ORDINARY, HANDLER, KINDS };

static struct context set_aside; /* the ordinary thread's secure context while a handler uses its place */
static int is_set_aside;
static int in_handler;
static struct {
	int waits;
	enum world runs; /* the secure world, or the driver context that it has called */
} thread[KINDS];

int preempt_waiting(void)
{
	return thread[ORDINARY].waits;
}

int preempt_waiting_handler(void)
{
	return thread[HANDLER].waits;
}

int preempt_in_handler(void)
{
	return in_handler;
}

void preempt(struct context *interrupted)
{
	static const struct smc_args nothing;
	struct context *normal = &contexts[WORLD_NORMAL];
	unsigned kind = in_handler ? HANDLER : ORDINARY;

	thread[kind].waits = 1;
	thread[kind].runs = context_world(interrupted);
	if (thread[kind].runs == WORLD_DRIVER) {
		driver_pause();
	}
	deadline_none();
	normal->x[0] = FLEX_PREEMPTED;
	normal->x[1] = nothing.x1;
	normal->x[2] = nothing.x2;
	normal->x[3] = nothing.x3;
	normal->x[4] = nothing.x4;
	normal->x[5] = nothing.x5;
	world_switch(interrupted, normal);
}

static void copy(struct context *to, const struct context *from)
{
	uint64_t *target = (uint64_t *)to;
	const uint64_t *source = (const uint64_t *)from;

	for (unsigned i = 0; i < sizeof *to / sizeof *target; i++) {
		target[i] = source[i];
	}
}

void preempt_resume(void)
{
	unsigned kind = thread[HANDLER].waits ? HANDLER : ORDINARY;

	thread[kind].waits = 0;
	if (kind == ORDINARY && is_set_aside) {
		copy(&contexts[WORLD_SECURE], &set_aside);
		is_set_aside = 0;
	}
	world_switch(&contexts[WORLD_NORMAL], &contexts[thread[kind].runs]);
	if (thread[kind].runs == WORLD_DRIVER) {
		driver_go_on();
	} else {
		deadline_for_secure();
	}
}

void preempt_begin_handler(void)
{
	if (!is_set_aside) {
		copy(&set_aside, &contexts[WORLD_SECURE]);
		is_set_aside = 1;
	}
	in_handler = 1;
}

void preempt_end_handler(void)
{
	in_handler = 0;
}
