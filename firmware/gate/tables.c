/*
 * The gates' page tables, identity. The normal world and the driver context map everything they could wish to reach, and
 * execute from all of DRAM: what protects the rest is not their own table. The secure world maps its DRAM, W^X, and its
 * own devices only; the secure kernel adds Flex-Mem to the root, `gate_tables`.
 */
#include <stdint.h>

#include "gate.h"
#include "memory_map.h"

#define ENTRIES 512

/* VMSAv8-64 stage-1 descriptors (Arm ARM D8.3) */
#define TABLE 3
#define PAGE 3
#define BLOCK 1
#define DEVICE (0 << 2)
#define NORMAL (1 << 2)
#define READ_ONLY (1 << 7)
#define INNER_SHAREABLE (3 << 8)
#define ACCESS_FLAG (1 << 10)
#define PRIVILEGED_EXECUTE_NEVER (UINT64_C(1) << 53)
#define EXECUTE_NEVER (UINT64_C(1) << 54)

#define DEVICE_DATA (DEVICE | ACCESS_FLAG | PRIVILEGED_EXECUTE_NEVER | EXECUTE_NEVER)
#define MEMORY (NORMAL | INNER_SHAREABLE | ACCESS_FLAG | EXECUTE_NEVER)
#define MEMORY_DATA (MEMORY | PRIVILEGED_EXECUTE_NEVER)
#define MEMORY_CODE (MEMORY | READ_ONLY)

typedef uint64_t table[ENTRIES];

struct start {
	uint64_t root;
	uint64_t control; /* SCTLR_EL1 */
};

/* Called by gate.S. */
struct start gate_build_tables(uint64_t base, uint64_t end, uint64_t context);

extern uint8_t gate_code_end[]; /* from gate.ld */

table gate_tables __attribute__((aligned(PAGE_SIZE)));
static table low_level2 __attribute__((aligned(PAGE_SIZE)));
static table uart_level3 __attribute__((aligned(PAGE_SIZE)));
static table trusted_level3 __attribute__((aligned(PAGE_SIZE)));
static table npu_level3 __attribute__((aligned(PAGE_SIZE)));
static table dram_level2[2] __attribute__((aligned(PAGE_SIZE)));
static table first_level3 __attribute__((aligned(PAGE_SIZE)));
static table last_level3 __attribute__((aligned(PAGE_SIZE)));
uint8_t gate_stack[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

#define SECURE_WORLD 0

static void build_open(void)
{
	gate_tables[0] = DEVICE_DATA | BLOCK;
	for (uint64_t gib = DRAM_BASE; gib < DRAM_BASE + (uint64_t)DRAM_MAX; gib += GIB) {
		gate_tables[gib / GIB] = gib | MEMORY | BLOCK;
	}
}

static void map_device(uint64_t *level3, uint64_t device, uint64_t rights)
{
	low_level2[device / BLOCK_SIZE] = (uint64_t)level3 | TABLE;
	level3[device % BLOCK_SIZE / PAGE_SIZE] = device | DEVICE_DATA | rights | PAGE;
}

static void map_pages(uint64_t *level3, uint64_t start, uint64_t end, uint64_t attributes)
{
	for (uint64_t page = start; page < end; page += PAGE_SIZE) {
		level3[page % BLOCK_SIZE / PAGE_SIZE] = page | attributes | PAGE;
	}
}

/* Blocks of 2 MiB, but pages in the first, which holds this image, and in the last, which ends with the table that is not ours. */
static void map_secure_dram(uint64_t base, uint64_t end)
{
	uint64_t last = end / BLOCK_SIZE * BLOCK_SIZE;

	map_pages(first_level3, base, (uint64_t)gate_code_end, MEMORY_CODE);
	map_pages(first_level3, (uint64_t)gate_code_end, base + BLOCK_SIZE, MEMORY_DATA);
	map_pages(last_level3, last, end, MEMORY_DATA);
	for (uint64_t block = base; block < end; block += BLOCK_SIZE) {
		uint64_t *level2 = dram_level2[block / GIB - base / GIB];
		uint64_t entry = block | MEMORY_DATA | BLOCK;

		if (block == base) {
			entry = (uint64_t)first_level3 | TABLE;
		} else if (block == last) {
			entry = (uint64_t)last_level3 | TABLE;
		}
		level2[block % GIB / BLOCK_SIZE] = entry;
		gate_tables[block / GIB] = (uint64_t)level2 | TABLE;
	}
}

static void build_secure(uint64_t base, uint64_t end)
{
	map_secure_dram(base, end);
	map_device(uart_level3, UART1_BASE, 0);
	map_device(trusted_level3, TRUSTED_BASE, 0);
	map_device(npu_level3, NPU_CONTROL_BASE, READ_ONLY); /* to see for itself whether a job is under way */
	gate_tables[0] = (uint64_t)low_level2 | TABLE;
}

struct start gate_build_tables(uint64_t base, uint64_t end, uint64_t context)
{
	struct start start = {
		.root = (uint64_t)gate_tables,
		.control = SCTLR_RES1 | SCTLR_M | SCTLR_C | SCTLR_SA | SCTLR_I,
	};

	if (context == SECURE_WORLD) {
		build_secure(base, end);
		start.control |= SCTLR_WXN;
	} else {
		build_open();
	}
	return start;
}
