#include "ownership.h"

#include "panic.h"

#define REGION_OF(entry) ((entry) >> PAGE_REGION_SHIFT)
#define RESERVED_ENTRY(region) (PAGE_RESERVED | (region) << PAGE_REGION_SHIFT)

static uint8_t *table;
static uint64_t normal_pages;
static uint64_t pages_in[PAGE_STATE_MASK + 1];
static uint64_t revoked_pages;

static void fill(uint64_t first_address, uint64_t end_address, uint8_t entry)
{
	for (uint64_t address = first_address; address < end_address; address += PAGE_SIZE) {
		table[(address - DRAM_BASE) / PAGE_SIZE] = entry;
	}
}

void ownership_start(const struct dram_layout *layout)
{
	table = (uint8_t *)layout->ownership_base;
	normal_pages = (layout->normal_end - DRAM_BASE) / PAGE_SIZE;
	fill(DRAM_BASE, layout->normal_end, PAGE_NORMAL);
	fill(layout->normal_end, layout->secure_base, RESERVED_ENTRY(REGION_MONITOR_CARVE_OUT));
	fill(layout->secure_base, layout->end, RESERVED_ENTRY(REGION_SECURE_DRAM));
	pages_in[PAGE_NORMAL] = normal_pages;
}

int64_t ownership_extent(uint64_t base, uint64_t pages, struct extent *extent)
{
	if (pages == 0 || base % PAGE_SIZE) {
		return FLEX_INVALID_PARAMETER;
	}
	if (base < DRAM_BASE) {
		return FLEX_DENIED;
	}
	extent->first = (base - DRAM_BASE) / PAGE_SIZE;
	if (extent->first >= normal_pages || pages > normal_pages - extent->first) {
		return FLEX_DENIED;
	}
	extent->pages = pages < PAGES_PER_CALL ? pages : PAGES_PER_CALL;
	return FLEX_SUCCESS;
}

int64_t ownership_expect(const struct extent *extent, uint32_t states)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		if (REGION_OF(table[page]) != REGION_NORMAL_DRAM) {
			return FLEX_DENIED;
		}
		if (table[page] & PAGE_REVOKED) {
			return FLEX_WRONG_STATE;
		}
		if (!(states & STATE_BIT(table[page] & PAGE_STATE_MASK))) {
			return FLEX_WRONG_STATE;
		}
	}
	return FLEX_SUCCESS;
}

int64_t ownership_expect_revoked(const struct extent *extent)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		if (!(table[page] & PAGE_REVOKED)) {
			return FLEX_WRONG_STATE;
		}
	}
	return FLEX_SUCCESS;
}

uint32_t ownership_state(uint64_t page)
{
	return table[page] & PAGE_STATE_MASK;
}

void ownership_move(const struct extent *extent, uint32_t from, uint32_t to)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		if (ownership_state(page) == from) {
			table[page] = (uint8_t)to;
			pages_in[from]--;
			pages_in[to]++;
		}
	}
}

void ownership_revoke(const struct extent *extent)
{
	ownership_move(extent, PAGE_LOCKED, PAGE_NORMAL);
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		table[page] |= PAGE_REVOKED;
	}
	revoked_pages += extent->pages;
}

void ownership_acknowledge(const struct extent *extent)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		table[page] &= (uint8_t)~PAGE_REVOKED;
	}
	revoked_pages -= extent->pages;
}

uint64_t ownership_count(uint32_t state)
{
	return pages_in[state];
}

uint64_t ownership_revoked(void)
{
	return revoked_pages;
}

uint64_t ownership_normal_pages(void)
{
	return normal_pages;
}

/* Whether any of eight entries is zero: the borrow of a zero byte reaches its top bit first. */
static uint64_t has_zero_byte(uint64_t word)
{
	return (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
}

void ownership_scan(uint64_t cursor, uint8_t entry, struct extent *found, uint64_t *next)
{
	uint64_t end = cursor + SCAN_PAGES < normal_pages ? cursor + SCAN_PAGES : normal_pages;
	uint64_t page = cursor;

	while (page < end && table[page] != entry) {
		uint64_t word = *(const uint64_t *)(table + page / 8 * 8);

		if (page % 8 == 0 && !has_zero_byte(word ^ entry * UINT64_C(0x0101010101010101))) {
			page += 8;
		} else {
			page++;
		}
	}
	page = page < end ? page : end;
	found->first = page;
	while (page < end && page < found->first + PAGES_PER_CALL && table[page] == entry) {
		page++;
	}
	found->pages = page - found->first;
	*next = page < normal_pages ? page : 0;
}
