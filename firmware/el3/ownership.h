/*
 * The ownership table: what each page of DRAM is, one byte a page, in secure DRAM. Every other table (stage 2, SMMU)
 * follows from it.
 */
#ifndef OWNERSHIP_H
#define OWNERSHIP_H

#include <stdint.h>

#include "flex_smc.h"
#include "memory_map.h"

/* Pages by number from DRAM_BASE; within the Flex-Mem-able part of DRAM and no longer than PAGES_PER_CALL. */
struct extent {
	uint64_t first;
	uint64_t pages;
};

#define STATE_BIT(state) (UINT32_C(1) << (state))

void ownership_start(const struct dram_layout *layout);
/* Checks a caller's range, by counts of pages: no end address is ever computed, so none wraps. Clips it to PAGES_PER_CALL. */
int64_t ownership_extent(uint64_t base, uint64_t pages, struct extent *extent);
/* SUCCESS if every page is in one of `states` (a mask of STATE_BIT) and none is revoked. */
int64_t ownership_expect(const struct extent *extent, uint32_t states);
int64_t ownership_expect_revoked(const struct extent *extent);
uint32_t ownership_state(uint64_t page);
/* Moves those pages of `extent` that are in state `from` to `to`. */
void ownership_move(const struct extent *extent, uint32_t from, uint32_t to);
void ownership_revoke(const struct extent *extent);
void ownership_acknowledge(const struct extent *extent);
uint64_t ownership_count(uint32_t state);
uint64_t ownership_revoked(void);
uint64_t ownership_normal_pages(void);
/* The first run of entries equal to `entry` among the SCAN_PAGES from `cursor` on; *next is where to go on, 0 at the end. */
void ownership_scan(uint64_t cursor, uint8_t entry, struct extent *found, uint64_t *next);

static inline uint64_t page_address(uint64_t page)
{
	return DRAM_BASE + page * PAGE_SIZE;
}

#endif
