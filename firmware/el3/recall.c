#include "recall.h"

#include "ownership.h"
#include "sysreg.h"

static uint64_t owed;
static uint64_t owed_deadline; /* CNTPCT_EL0; means nothing while nothing is owed */

static uint64_t owed_told;

static uint64_t minimum(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t maximum(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t claimable(void)
{
	return ownership_count(PAGE_LOCKED) + ownership_count(PAGE_ALLOCATED);
}

/*
 * There is one deadline for all that is owed: the earlier one, but each page is due MINIMUM_DEADLINE after it was asked for
 * at the earliest. Whoever asks again puts off what is due already, if that is sooner.
 */
struct smc_result mem_recall(const struct smc_args *args)
{
	uint64_t pages = args->x1, ticks = args->x2, now = counter(), due;

	if (pages == 0 || ticks < MINIMUM_DEADLINE || ticks > UINT64_MAX - now) {
		return smc_status(FLEX_INVALID_PARAMETER);
	}
	due = now + ticks;
	owed_told = 0;
	owed_deadline = owed ? maximum(minimum(owed_deadline, due), now + MINIMUM_DEADLINE) : due;
	owed += minimum(pages, claimable() - owed);
	return (struct smc_result){{FLEX_SUCCESS, owed, owed ? owed_deadline : 0}};
}

uint64_t recall_owed(void)
{
	return owed;
}

uint64_t recall_deadline(void)
{
	return owed && !owed_told ? owed_deadline : UINT64_MAX;
}

void recall_told(void)
{
	owed_told = 1;
}

int64_t recall_may_force(uint64_t pages)
{
	if (pages > owed) {
		return FLEX_NOT_OWED;
	}
	if (counter() < owed_deadline) {
		return FLEX_NOT_DUE;
	}
	return FLEX_SUCCESS;
}

void recall_paid(uint64_t pages)
{
	owed -= minimum(pages, owed);
	owed = minimum(owed, claimable());
}
