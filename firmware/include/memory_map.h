/* The physical memory map. Generated from emulator/memory_map.py by `python -m monitor.generate`. */
#ifndef MEMORY_MAP_H
#define MEMORY_MAP_H

#define PAGE_SIZE         0x1000
#define BLOCK_SIZE        0x200000
#define MIB               0x100000
#define GIB               0x40000000
#define COUNTER_HZ        0x3b9aca00
#define DRAM_BASE         0x40000000
#define DRAM_MIN          0x4000000
#define DRAM_MAX          0x400000000
#define NPU_ADDRESS_LIMIT 0x100000000
#define DRIVER_BYTES      0x100000

#define UART0_BASE       0x9000000
#define UART1_BASE       0x9040000
#define SMMU_BASE        0x9050000
#define TZASC_BASE       0xa100000
#define TZPC_BASE        0xa110000
#define TRUSTED_BASE     0xa120000
#define STORAGE_BASE     0xa130000
#define NPU0_BASE        0xa200000
#define NPU1_BASE        0xa210000
#define NPU2_BASE        0xa220000
#define NPU_CONTROL_BASE 0xa230000
#define SECURE_SRAM_BASE 0xe000000
#define GICD_BASE        0x8000000
#define GICC_BASE        0x8010000
#define UART0_SIZE       0x1000
#define UART1_SIZE       0x1000
#define SMMU_SIZE        0x20000
#define TZASC_SIZE       0x1000
#define TZPC_SIZE        0x1000
#define TRUSTED_SIZE     0x1000
#define STORAGE_SIZE     0x1000
#define NPU0_SIZE        0x10000
#define NPU1_SIZE        0x10000
#define NPU2_SIZE        0x10000
#define NPU_CONTROL_SIZE 0x1000
#define SECURE_SRAM_SIZE 0x1000000
#define GICD_SIZE        0x10000
#define GICC_SIZE        0x10000

/* Interrupt numbers of the GIC. */
#define INTERRUPT_UART0 33
#define INTERRUPT_UART1 40
#define INTERRUPT_NPU0  142
#define INTERRUPT_NPU1  143
#define INTERRUPT_NPU2  144

/* A device's bit in the TZPC's DECPROT registers, and the bits of the normal world's devices. */
#define DECPROT_UART0       0
#define DECPROT_UART1       1
#define DECPROT_SMMU        2
#define DECPROT_TZASC       3
#define DECPROT_TZPC        4
#define DECPROT_TRUSTED     5
#define DECPROT_STORAGE     6
#define DECPROT_NPU0        7
#define DECPROT_NPU1        8
#define DECPROT_NPU2        9
#define DECPROT_NPU_CONTROL 10
#define DECPROT_NORMAL 0x7c1

#define NSAID_CPU         0
#define NSAID_SMMU_WALKER 1
#define NSAID_STORAGE     2
#define NSAID_NPU0        3
#define NSAID_NPU1        4
#define NSAID_NPU2        5
#define STREAM_STORAGE 1
#define STREAM_NPU0    2
#define STREAM_NPU1    3
#define STREAM_NPU2    4

#define NORMAL_IMAGE_BASE 0x40000000
#define PROBE_IMAGE_BASE  0x40100000
#define NORMAL_IMAGE_END  0x40200000

#ifndef __ASSEMBLER__
#include <stdint.h>

/* From the bottom: normal memory, the monitor's carve-out, secure DRAM with the monitor's two tables at its end. */
struct dram_layout {
	uint64_t pages;
	uint64_t end;
	uint64_t normal_end;
	uint64_t driver_base;
	uint64_t npu_tables_base;
	uint64_t npu_bytes;
	uint64_t secure_base;
	uint64_t secure_end;
	uint64_t ownership_base;
};

static inline uint64_t round_up(uint64_t value, uint64_t step)
{
	return (value + step - 1) / step * step;
}

static inline struct dram_layout dram_layout(uint64_t pages)
{
	uint64_t size = pages * PAGE_SIZE;
	uint64_t end = DRAM_BASE + size;
	uint64_t secure_base = end - 16 * MIB - round_up(size / 64, BLOCK_SIZE);
	uint64_t ownership_base = end - round_up(pages, PAGE_SIZE);
	uint64_t npu_bytes = size < NPU_ADDRESS_LIMIT ? size : NPU_ADDRESS_LIMIT;
	uint64_t npu_tables_base = secure_base - round_up(npu_bytes / 512, BLOCK_SIZE);
	uint64_t normal_end = npu_tables_base - BLOCK_SIZE - round_up(size / 512, BLOCK_SIZE);

	return (struct dram_layout){
		.pages = pages,
		.end = end,
		.normal_end = normal_end,
		.driver_base = normal_end + MIB,
		.npu_tables_base = npu_tables_base,
		.npu_bytes = npu_bytes,
		.secure_base = secure_base,
		.secure_end = ownership_base - round_up(4 * pages, PAGE_SIZE),
		.ownership_base = ownership_base,
	};
}
#endif

#endif
