#include "deadline.h"

#include "npu.h"
#include "recall.h"
#include "sysreg.h"

#define TIMER_ENABLE 1

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void set(uint64_t end)
{
	WRITE_SYSREG(cntps_cval_el1, end);
	WRITE_SYSREG(cntps_ctl_el1, end == NO_DEADLINE ? 0 : TIMER_ENABLE);
	isb();
}

static uint64_t recalls(void)
{
	return earlier(recall_deadline(), npu_recall_deadline());
}

void deadline_for_secure(void)
{
	set(recalls());
}

void deadline_for_driver(uint64_t end)
{
	set(earlier(end, recalls()));
}

void deadline_none(void)
{
	set(NO_DEADLINE);
}

int deadline_recall_due(void)
{
	uint64_t now = counter();
	int memory = recall_deadline() <= now, npu = npu_recall_deadline() <= now;

	if (memory) {
		recall_told();
	}
	if (npu) {
		npu_recall_told();
	}
	return memory | npu;
}
