#include "npu_tables.h"

#include "memory.h"
#include "monitor_memory.h"
#include "npu.h"
#include "smmu.h"
#include "stage2.h"
#include "sysreg.h"

#define ENTRIES 512

static volatile uint64_t *entries; /* level 3, by page of the IOVA; volatile: the SMMU's walker reads it while we write */
static uint32_t *iova_of;          /* by page of DRAM: page of the IOVA and 1, and REVERSE_WRITE; 0: not mapped */
static uint64_t iova_pages;

/* A range of IOVAs, by page. */
struct range {
	uint64_t first;
	uint64_t pages;
};

static void link_tables(uint64_t carve_out)
{
	uint64_t *root = (uint64_t *)(carve_out + CARVE_OUT_NPU_ROOT);
	uint64_t *level2 = (uint64_t *)(carve_out + CARVE_OUT_NPU_LEVEL2);
	uint64_t tables = iova_pages / ENTRIES;

	zero_page((uint64_t)root);
	for (uint64_t i = 0; i < tables; i++) {
		if (i % ENTRIES == 0) {
			zero_page((uint64_t)&level2[i]);
			root[i / ENTRIES] = (uint64_t)&level2[i] | STAGE2_TABLE;
		}
		level2[i] = ((uint64_t)entries + i * PAGE_SIZE) | STAGE2_TABLE;
	}
}

void npu_tables_start(const struct dram_layout *layout)
{
	entries = (volatile uint64_t *)layout->npu_tables_base;
	iova_of = (uint32_t *)layout->secure_end;
	iova_pages = layout->npu_bytes / PAGE_SIZE;
	for (uint64_t page = layout->npu_tables_base; page < layout->secure_base; page += PAGE_SIZE) {
		zero_page(page);
	}
	for (uint64_t page = layout->secure_end; page < layout->ownership_base; page += PAGE_SIZE) {
		zero_page(page);
	}
	link_tables(layout->normal_end);
	dsb();
}

/* Checks a caller's range and clips it to PAGES_PER_CALL. */
static int64_t parse(uint64_t iova, uint64_t pages, struct range *range)
{
	if (pages == 0 || iova % PAGE_SIZE) {
		return FLEX_INVALID_PARAMETER;
	}
	range->first = iova / PAGE_SIZE;
	if (range->first >= iova_pages || pages > iova_pages - range->first) {
		return FLEX_INVALID_PARAMETER;
	}
	range->pages = pages < PAGES_PER_CALL ? pages : PAGES_PER_CALL;
	return FLEX_SUCCESS;
}

/* Neither the addresses nor the pages may be mapped: a page has one address, so that unmapping it needs no search. */
static int64_t expect_unmapped(const struct range *range, const struct extent *extent)
{
	for (uint64_t i = 0; i < extent->pages; i++) {
		if (entries[range->first + i] || iova_of[extent->first + i]) {
			return FLEX_WRONG_STATE;
		}
	}
	return FLEX_SUCCESS;
}

struct smc_result npu_map(const struct smc_args *args)
{
	struct range range;
	struct extent extent;
	int64_t status = args->x4 & ~(uint64_t)NPU_MAP_WRITE ? FLEX_INVALID_PARAMETER : parse(args->x1, args->x3, &range);
	uint64_t attributes = args->x4 & NPU_MAP_WRITE ? STAGE2_DRAM_PAGE : STAGE2_DRAM_PAGE & ~STAGE2_WRITE;
	uint32_t noted;

	if (status == FLEX_SUCCESS) {
		status = ownership_extent(args->x2, args->x3, &extent);
	}
	if (status == FLEX_SUCCESS) {
		status = ownership_expect(&extent, STATE_BIT(PAGE_LOCKED));
	}
	if (status == FLEX_SUCCESS) {
		status = expect_unmapped(&range, &extent);
	}
	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	noted = (uint32_t)range.first + 1 + (args->x4 & NPU_MAP_WRITE ? REVERSE_WRITE : 0);
	for (uint64_t i = 0; i < extent.pages; i++) {
		iova_of[extent.first + i] = noted + (uint32_t)i;
		entries[range.first + i] = page_address(extent.first + i) | attributes;
	}
	dsb();
	return (struct smc_result){{FLEX_SUCCESS, extent.pages}};
}

static uint64_t frame_at(uint64_t iova_page)
{
	return ((entries[iova_page] & STAGE2_ADDRESS) - DRAM_BASE) / PAGE_SIZE;
}

/* In normal mode no stream uses this table, and the TLB has been rid of it by the switch. */
static void unmap(uint64_t iova_page)
{
	iova_of[frame_at(iova_page)] = 0;
	entries[iova_page] = 0;
	if (npu_is_secure()) {
		smmu_forget_npu_page(iova_page * PAGE_SIZE);
	}
}

static void wait_for_dma(uint64_t unmapped)
{
	if (unmapped && npu_is_secure()) {
		smmu_wait();
	}
}

struct smc_result npu_unmap(const struct smc_args *args)
{
	struct range range;
	uint64_t unmapped = 0;
	int64_t status = parse(args->x1, args->x2, &range);

	if (status != FLEX_SUCCESS) {
		return smc_status(status);
	}
	for (uint64_t page = range.first; page < range.first + range.pages; page++) {
		if (entries[page]) {
			unmap(page);
			unmapped++;
		}
	}
	wait_for_dma(unmapped);
	return (struct smc_result){{FLEX_SUCCESS, range.pages}};
}

void npu_tables_forget(const struct extent *extent)
{
	uint64_t unmapped = 0;

	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		if (iova_of[page]) {
			unmap((iova_of[page] & ~REVERSE_WRITE) - 1);
			unmapped++;
		}
	}
	wait_for_dma(unmapped);
}
