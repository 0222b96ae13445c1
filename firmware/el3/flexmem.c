#include "flexmem.h"

#include "memory.h"
#include "npu_tables.h"
#include "ownership.h"
#include "recall.h"
#include "smmu.h"
#include "stage2.h"
#include "sysreg.h"

static struct smc_result done(const struct extent *extent)
{
	return (struct smc_result){{FLEX_SUCCESS, extent->pages}};
}

/* The caller's range, clipped, if each page of the window is in one of `states`. */
static int64_t window(const struct smc_args *args, uint32_t states, struct extent *extent)
{
	int64_t status = ownership_extent(args->x1, args->x2, extent);

	return status == FLEX_SUCCESS ? ownership_expect(extent, states) : status;
}

struct smc_result mem_allocate(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = window(args, STATE_BIT(PAGE_NORMAL), &extent);

	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	ownership_move(&extent, PAGE_NORMAL, PAGE_ALLOCATED);
	return done(&extent);
}

/* Valid to invalid entries, then both kinds of TLB; the SMMU's sync also waits for DMA that holds a translation. */
struct smc_result mem_lock(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = window(args, STATE_BIT(PAGE_ALLOCATED), &extent);

	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	stage2_unmap(&extent);
	stage2_invalidate();
	smmu_invalidate(&extent);
	ownership_move(&extent, PAGE_ALLOCATED, PAGE_LOCKED);
	return done(&extent);
}

struct smc_result mem_release(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = window(args, STATE_BIT(PAGE_LOCKED), &extent);

	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	npu_tables_forget(&extent);
	ownership_move(&extent, PAGE_LOCKED, PAGE_RELEASED);
	recall_paid(extent.pages);
	return done(&extent);
}

/* A call of its own: a secure kernel that believes a LOCKED page of its own to be a grant cannot give it away by this. */
struct smc_result mem_decline(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = window(args, STATE_BIT(PAGE_ALLOCATED), &extent);

	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	ownership_move(&extent, PAGE_ALLOCATED, PAGE_NORMAL);
	recall_paid(extent.pages);
	return done(&extent);
}

/* What the secure world had is gone; what is only ALLOCATED is the normal world's own. */
static void scrub(const struct extent *extent)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		if (ownership_state(page) != PAGE_ALLOCATED) {
			zero_page(page_address(page));
		}
	}
	dsb();
}

/* The normal world must find zeros from the first access on. */
static void give_back(const struct extent *extent)
{
	scrub(extent);
	stage2_map(extent);
}

static struct smc_result reclaim(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = window(args, STATE_BIT(PAGE_RELEASED) | STATE_BIT(PAGE_ALLOCATED), &extent);

	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	give_back(&extent);
	ownership_move(&extent, PAGE_RELEASED, PAGE_NORMAL);
	ownership_move(&extent, PAGE_ALLOCATED, PAGE_NORMAL);
	recall_paid(0);
	return done(&extent);
}

static struct smc_result reclaim_by_force(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = window(args, STATE_BIT(PAGE_LOCKED), &extent);

	if (status == FLEX_SUCCESS) {
		status = recall_may_force(extent.pages);
	}
	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	npu_tables_forget(&extent);
	give_back(&extent);
	ownership_revoke(&extent);
	recall_paid(extent.pages);
	return done(&extent);
}

struct smc_result mem_reclaim(const struct smc_args *args)
{
	switch (args->x3) {
	case 0:
		return reclaim(args);
	case RECLAIM_FORCE:
		return reclaim_by_force(args);
	default:
		return smc_status(FLEX_INVALID_PARAMETER);
	}
}

static struct smc_result next(uint64_t cursor, uint8_t entry, uint64_t present)
{
	struct extent found = {0};
	uint64_t next_cursor = 0;

	if (cursor >= ownership_normal_pages()) {
		return smc_status(FLEX_INVALID_PARAMETER);
	}
	if (present) {
		ownership_scan(cursor, entry, &found, &next_cursor);
	}
	return (struct smc_result){{
		FLEX_SUCCESS,
		found.pages ? page_address(found.first) : 0,
		found.pages,
		next_cursor,
	}};
}

struct smc_result mem_next_released(const struct smc_args *args)
{
	return next(args->x1, PAGE_RELEASED, ownership_count(PAGE_RELEASED));
}

struct smc_result mem_next_revoked(const struct smc_args *args)
{
	return next(args->x1, PAGE_NORMAL | PAGE_REVOKED, ownership_revoked());
}

struct smc_result mem_ack_revoked(const struct smc_args *args)
{
	struct extent extent;
	int64_t status = ownership_extent(args->x1, args->x2, &extent);

	if (status == FLEX_SUCCESS) {
		status = ownership_expect_revoked(&extent);
	}
	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	ownership_acknowledge(&extent);
	return done(&extent);
}
