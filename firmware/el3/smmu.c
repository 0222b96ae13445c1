#include "smmu.h"

#include "monitor_memory.h"
#include "panic.h"
#include "registers.h"
#include "stage2.h"
#include "sysreg.h"

#define STREAMS_LOG2 3
#define STE_WORDS 8
#define COMMANDS_LOG2 8
#define COMMAND_SLOTS (1 << COMMANDS_LOG2)
#define EVENTS_LOG2 7
#define MAX_POLLS 10000

_Static_assert(PAGES_PER_CALL + 1 < COMMAND_SLOTS, "the queue holds the invalidation of a whole window and its sync");

#define CR1_CACHED_AND_SHARED 0xd75 /* table and queue accesses: inner shareable, write-back */

#define STE(field, value) ((uint64_t)(value) << SMMU_STE_##field##_SHIFT)
#define STE_STAGE2(vmid, t0sz)                                                                                         \
	(STE(S2VMID, vmid) | STE(S2T0SZ, t0sz) | STE(S2SL0, STAGE2_SL0_LEVEL1) | STE(S2IR0, STAGE2_CACHED) |           \
	 STE(S2OR0, STAGE2_CACHED) | STE(S2SH0, STAGE2_SHARED) | STE(S2PS, STAGE2_PS_36_BITS) | STE(S2AA64, 1) |       \
	 STE(S2R, 1)) /* S2R without S2S: faults are recorded, and end */
#define STE_ABORT (STE(V, 1) | STE(CONFIG, SMMU_STE_CONFIG_ABORT))
#define NPU_T0SZ (64 - 32) /* its addresses have 32 bits */
#define SHCFG_INCOMING 1

#define CMD_CFGI_ALL SMMU_CMD_OPCODE_CFGI_STE_RANGE
#define CMD_CFGI_ALL_RANGE 31
#define CMD_CFGI_STE SMMU_CMD_OPCODE_CFGI_STE
#define CMD_TLBI_S12_VMALL SMMU_CMD_OPCODE_TLBI_S12_VMALL
#define CMD_TLBI_S2_IPA SMMU_CMD_OPCODE_TLBI_S2_IPA
#define CMD_TLBI_NSNH_ALL SMMU_CMD_OPCODE_TLBI_NSNH_ALL
#define CMD_SYNC SMMU_CMD_OPCODE_SYNC
#define CMD_VMID_SHIFT SMMU_CMD_TARGET_SHIFT
#define CMD_STREAM_SHIFT SMMU_CMD_TARGET_SHIFT
#define CMD_LEAF 1

static volatile uint64_t (*command_queue)[2];
static uint64_t *stream_table;
static uint64_t normal_root, npu_root;
static uint32_t producer; /* index and, above it, the wrap bit */

static void enqueue(uint64_t low, uint64_t high)
{
	volatile uint64_t *slot = command_queue[producer % COMMAND_SLOTS];

	slot[0] = low;
	slot[1] = high;
	producer = (producer + 1) % (2 * COMMAND_SLOTS);
}

/* CONS passes CMD_SYNC only when everything before it has taken effect and earlier DMA is done (4.6). */
static void wait_until_consumed(void)
{
	for (unsigned polls = 0; polls < MAX_POLLS; polls++) {
		if (device_read(SMMU_BASE + SMMU_CMDQ_CONS) == producer) {
			return;
		}
	}
	panic("smmu: the command queue does not drain");
}

static void synchronise(void)
{
	enqueue(CMD_SYNC, 0);
	dsb_system();
	device_write(SMMU_BASE + SMMU_CMDQ_PROD, producer);
	wait_until_consumed();
}

void smmu_invalidate(const struct extent *extent)
{
	for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {
		enqueue(CMD_TLBI_S2_IPA | (uint64_t)VMID_STORAGE << CMD_VMID_SHIFT, page_address(page) | CMD_LEAF);
	}
	synchronise();
}

void smmu_forget_npu_page(uint64_t iova)
{
	enqueue(CMD_TLBI_S2_IPA | (uint64_t)VMID_NPU << CMD_VMID_SHIFT, iova | CMD_LEAF);
}

void smmu_wait(void)
{
	synchronise();
}

/* The word with the valid bit last. */
static void write_stream(unsigned stream, uint64_t stage2, uint64_t root)
{
	volatile uint64_t *entry = stream_table + stream * STE_WORDS;

	entry[1] = STE(SHCFG, SHCFG_INCOMING);
	entry[2] = stage2;
	entry[3] = root;
	dsb();
	entry[0] = STE(V, 1) | STE(CONFIG, SMMU_STE_CONFIG_STAGE2);
}

/* Every stream's entry is valid, so that none is an error: all but storage's and the NPU's abort. */
static void write_stream_table(void)
{
	for (unsigned i = 0; i < (1 << STREAMS_LOG2) * STE_WORDS; i++) {
		stream_table[i] = i % STE_WORDS == 0 ? STE_ABORT : 0;
	}
	write_stream(STREAM_STORAGE, STE_STAGE2(VMID_STORAGE, STAGE2_T0SZ), normal_root);
	for (unsigned stream = STREAM_NPU0; stream <= STREAM_NPU2; stream++) {
		write_stream(stream, STE_STAGE2(VMID_STORAGE, STAGE2_T0SZ), normal_root);
	}
}

/*
 * An entry in use changes only by way of an abort that the SMMU is known to have seen (3.21.3): never is one half of the
 * old table's and half of the new one's.
 */
void smmu_move_npu(int secure)
{
	for (unsigned stream = STREAM_NPU0; stream <= STREAM_NPU2; stream++) {
		((volatile uint64_t *)stream_table)[stream * STE_WORDS] = STE_ABORT;
		enqueue(CMD_CFGI_STE | (uint64_t)stream << CMD_STREAM_SHIFT, CMD_LEAF);
	}
	synchronise();
	for (unsigned stream = STREAM_NPU0; stream <= STREAM_NPU2; stream++) {
		if (secure) {
			write_stream(stream, STE_STAGE2(VMID_NPU, NPU_T0SZ), npu_root);
		} else {
			write_stream(stream, STE_STAGE2(VMID_STORAGE, STAGE2_T0SZ), normal_root);
		}
		enqueue(CMD_CFGI_STE | (uint64_t)stream << CMD_STREAM_SHIFT, CMD_LEAF);
	}
	enqueue(CMD_TLBI_S12_VMALL | (uint64_t)VMID_NPU << CMD_VMID_SHIFT, 0);
	synchronise();
}

static void set_control(uint32_t control)
{
	device_write(SMMU_BASE + SMMU_CR0, control);
	for (unsigned polls = 0; polls < MAX_POLLS; polls++) {
		if (device_read(SMMU_BASE + SMMU_CR0ACK) == control) {
			return;
		}
	}
	panic("smmu: CR0 is not acknowledged");
}

static void start_command_queue(uint64_t queue)
{
	command_queue = (volatile uint64_t(*)[2])queue;
	producer = 0;
	device_write64(SMMU_BASE + SMMU_CMDQ_BASE, queue | SMMU_CMDQ_BASE_RA_MASK | COMMANDS_LOG2);
	device_write(SMMU_BASE + SMMU_CMDQ_PROD, 0);
	device_write(SMMU_BASE + SMMU_CMDQ_CONS, 0);
}

/* The order of 3.11: tables and queues, command queue on, caches emptied, event queue, translation. */
void smmu_start(const struct dram_layout *layout)
{
	uint64_t carve_out = layout->normal_end;

	stream_table = (uint64_t *)(carve_out + CARVE_OUT_STREAM_TABLE);
	normal_root = carve_out + CARVE_OUT_STORAGE_ROOT;
	npu_root = carve_out + CARVE_OUT_NPU_ROOT;
	set_control(0);
	write_stream_table();
	device_write(SMMU_BASE + SMMU_CR1, CR1_CACHED_AND_SHARED);
	device_write(SMMU_BASE + SMMU_CR2, SMMU_CR2_RECINVSID_MASK | SMMU_CR2_PTM_MASK);
	device_write64(SMMU_BASE + SMMU_STRTAB_BASE, (uint64_t)stream_table | SMMU_STRTAB_BASE_RA_MASK);
	device_write(SMMU_BASE + SMMU_STRTAB_BASE_CFG, STREAMS_LOG2);
	start_command_queue(carve_out + CARVE_OUT_COMMAND_QUEUE);
	device_write64(SMMU_BASE + SMMU_EVENTQ_BASE, (carve_out + CARVE_OUT_EVENT_QUEUE) | SMMU_EVENTQ_BASE_WA_MASK | EVENTS_LOG2);
	device_write(SMMU_BASE + SMMU_EVENTQ_PROD, 0);
	device_write(SMMU_BASE + SMMU_EVENTQ_CONS, 0);
	set_control(SMMU_CR0_CMDQEN_MASK);
	enqueue(CMD_CFGI_ALL, CMD_CFGI_ALL_RANGE);
	enqueue(CMD_TLBI_NSNH_ALL, 0);
	synchronise();
	set_control(SMMU_CR0_CMDQEN_MASK | SMMU_CR0_EVENTQEN_MASK);
	set_control(SMMU_CR0_CMDQEN_MASK | SMMU_CR0_EVENTQEN_MASK | SMMU_CR0_SMMUEN_MASK);
}
