/* What the monitor keeps where. Generated from monitor/memory.py by `python -m monitor.generate`. */
#ifndef MONITOR_MEMORY_H
#define MONITOR_MEMORY_H

/* The monitor's carve-out of normal memory: offsets from its base. */
#define CARVE_OUT_EL2_STUB       0x0
#define CARVE_OUT_NORMAL_ROOT    0x2000
#define CARVE_OUT_STORAGE_ROOT   0x3000
#define CARVE_OUT_DEVICE_LEVEL2  0x4000
#define CARVE_OUT_DEVICE_LEVEL3  0x5000
#define CARVE_OUT_STREAM_TABLE   0x8000
#define CARVE_OUT_COMMAND_QUEUE  0x9000
#define CARVE_OUT_EVENT_QUEUE    0xa000
#define CARVE_OUT_NPU_ROOT       0xb000
#define CARVE_OUT_NPU_WINDOWS    0xc000
#define CARVE_OUT_DRIVER_ROOT    0xd000
#define CARVE_OUT_DRIVER_DEVICES 0xe000
#define CARVE_OUT_DRIVER_LEVEL2  0xf000
#define CARVE_OUT_DRAM_LEVEL2    0x10000
#define CARVE_OUT_NPU_LEVEL2     0x20000
#define CARVE_OUT_DRIVER_LEVEL3  0x24000
#define CARVE_OUT_DRAM_LEVEL3    0x200000

/* Of an entry of the reverse table, besides the page of the IOVA and 1. */
#define REVERSE_WRITE 0x80000000

/* A context: offsets of its parts. */
#define CONTEXT_X      0x0
#define CONTEXT_ELR    0xf8
#define CONTEXT_SPSR   0x100
#define CONTEXT_SCR    0x108
#define CONTEXT_MDCR   0x110
#define CONTEXT_FPCR   0x118
#define CONTEXT_FPSR   0x120
#define CONTEXT_V      0x130
#define CONTEXT_EL1    0x330
#define CONTEXT_TIMERS 0x400
#define CONTEXT_EL1_COUNT    26
#define CONTEXT_TIMERS_COUNT 4
#define CONTEXT_SIZE         1056

#ifdef __ASSEMBLER__
	.macro each_el1_register action
	\action sctlr_el1
	\action actlr_el1
	\action cpacr_el1
	\action ttbr0_el1
	\action ttbr1_el1
	\action tcr_el1
	\action mair_el1
	\action amair_el1
	\action contextidr_el1
	\action vbar_el1
	\action esr_el1
	\action far_el1
	\action afsr0_el1
	\action afsr1_el1
	\action par_el1
	\action elr_el1
	\action spsr_el1
	\action sp_el0
	\action sp_el1
	\action tpidr_el0
	\action tpidrro_el0
	\action tpidr_el1
	\action csselr_el1
	\action cntkctl_el1
	\action mdscr_el1
	\action pmcr_el0
	.endm
	.macro each_timer_register action
	\action cntp_ctl_el0
	\action cntp_cval_el0
	\action cntv_ctl_el0
	\action cntv_cval_el0
	.endm
#endif

#ifndef __ASSEMBLER__
#include <stdint.h>

/* x0-x30 and the return state from every entry to EL3; the rest while another context runs. */
struct context {
	uint64_t x[31];
	uint64_t elr;
	uint64_t spsr;
	uint64_t scr;
	uint64_t mdcr;
	uint64_t fpcr;
	uint64_t fpsr;
	uint64_t v[32][2] __attribute__((aligned(16)));
	uint64_t el1[CONTEXT_EL1_COUNT];
	uint64_t timers[CONTEXT_TIMERS_COUNT]; /* of the normal world's only: as it left them */
} __attribute__((aligned(16)));
#endif

#endif
