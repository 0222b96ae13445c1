/* The SMC table for C and assembly. Generated from monitor/abi.py by `python -m monitor.generate`. */
#ifndef FLEX_SMC_H
#define FLEX_SMC_H

#define SMC_SMCCC_VERSION       0x80000000
#define SMC_SMCCC_ARCH_FEATURES 0x80000001
#define SMC_PSCI_VERSION        0x84000000
#define SMC_PSCI_SYSTEM_OFF     0x84000008
#define SMC_PSCI_FEATURES       0x8400000a
#define SMC_FLEX_UID            0x8700ff01
#define SMC_FLEX_REVISION       0x8700ff03
#define SMC_FLEX_VERSION        0xc7000100
#define SMC_FLEX_FEATURES       0xc7000101
#define SMC_MEM_ALLOCATE        0xc7000110
#define SMC_MEM_LOCK            0xc7000111
#define SMC_MEM_RECALL          0xc7000112
#define SMC_MEM_RELEASE         0xc7000113
#define SMC_MEM_RECLAIM         0xc7000114
#define SMC_MEM_NEXT_RELEASED   0xc7000115
#define SMC_MEM_NEXT_REVOKED    0xc7000116
#define SMC_MEM_ACK_REVOKED     0xc7000117
#define SMC_SECURE_CALL         0x72000000
#define SMC_SECURE_RESUME       0x72000001
#define SMC_SECURE_DONE         0xf2000000
#define SMC_SECURE_RPC          0xf2000001
#define SMC_SECURE_READY        0xf2000002

#define FLEX_SUCCESS           0
#define FLEX_RPC               1
#define FLEX_PREEMPTED         2
#define FLEX_NOT_SUPPORTED     -1
#define FLEX_INVALID_PARAMETER -3
#define FLEX_DENIED            -16
#define FLEX_WRONG_STATE       -17
#define FLEX_BUSY              -18
#define FLEX_NOT_DUE           -19
#define FLEX_NOT_OWED          -20

#define PAGE_NORMAL    0
#define PAGE_ALLOCATED 1
#define PAGE_LOCKED    2
#define PAGE_RELEASED  3
#define PAGE_RESERVED  7
#define PAGE_STATE_MASK   0x7
#define PAGE_REVOKED      0x8
#define PAGE_REGION_SHIFT 0x4
#define REGION_NORMAL_DRAM       0
#define REGION_MONITOR_CARVE_OUT 1
#define REGION_SECURE_DRAM       2

#define PENDING_REVOKED   1
#define PENDING_RECALL    2
#define PENDING_FIQ       4
#define PENDING_RPC_REPLY 8
#define PENDING_NEW_CALL  16

#define FEATURE_PAGES_PER_CALL        0
#define FEATURE_MINIMUM_DEADLINE      1
#define FEATURE_MAX_CALL_INSTRUCTIONS 2
#define FEATURE_SCAN_PAGES            3

#define PAGES_PER_CALL        64
#define MINIMUM_DEADLINE      1000000
#define MAX_CALL_INSTRUCTIONS 16384
#define SCAN_PAGES            4096
#define FLEX_VERSION_MAJOR 0x1
#define FLEX_VERSION_MINOR 0x0
#define SMCCC_VERSION      0x10005
#define PSCI_VERSION       0x10001
#define FLEX_UID_0         0xa2c51e5f
#define FLEX_UID_1         0x4b1dd34e
#define FLEX_UID_2         0x9d277ab8
#define FLEX_UID_3         0x64e093f1
#define SMC_HINT           0x10000
#define SMC_64             0x40000000
#define RECLAIM_FORCE      0x1
#define SMC_BY_SECURE 0x1
#define SMC_BY_NORMAL 0x2
#define SMC_BY_BOTH   0x3

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Who may make a call (0: no such call), and how many registers from x0 on carry its results. */
struct smc_row {
	uint32_t by;
	uint32_t results;
};

static inline struct smc_row smc_row(uint32_t function)
{
	switch (function) {
	case SMC_SMCCC_VERSION:
		return (struct smc_row){SMC_BY_BOTH, 1};
	case SMC_SMCCC_ARCH_FEATURES:
		return (struct smc_row){SMC_BY_BOTH, 1};
	case SMC_PSCI_VERSION:
		return (struct smc_row){SMC_BY_NORMAL, 1};
	case SMC_PSCI_SYSTEM_OFF:
		return (struct smc_row){SMC_BY_NORMAL, 0};
	case SMC_PSCI_FEATURES:
		return (struct smc_row){SMC_BY_NORMAL, 1};
	case SMC_FLEX_UID:
		return (struct smc_row){SMC_BY_BOTH, 4};
	case SMC_FLEX_REVISION:
		return (struct smc_row){SMC_BY_BOTH, 2};
	case SMC_FLEX_VERSION:
		return (struct smc_row){SMC_BY_BOTH, 1};
	case SMC_FLEX_FEATURES:
		return (struct smc_row){SMC_BY_BOTH, 2};
	case SMC_MEM_ALLOCATE:
		return (struct smc_row){SMC_BY_NORMAL, 2};
	case SMC_MEM_LOCK:
		return (struct smc_row){SMC_BY_SECURE, 2};
	case SMC_MEM_RECALL:
		return (struct smc_row){SMC_BY_NORMAL, 3};
	case SMC_MEM_RELEASE:
		return (struct smc_row){SMC_BY_SECURE, 2};
	case SMC_MEM_RECLAIM:
		return (struct smc_row){SMC_BY_NORMAL, 2};
	case SMC_MEM_NEXT_RELEASED:
		return (struct smc_row){SMC_BY_NORMAL, 4};
	case SMC_MEM_NEXT_REVOKED:
		return (struct smc_row){SMC_BY_SECURE, 4};
	case SMC_MEM_ACK_REVOKED:
		return (struct smc_row){SMC_BY_SECURE, 2};
	case SMC_SECURE_CALL:
		return (struct smc_row){SMC_BY_NORMAL, 6};
	case SMC_SECURE_RESUME:
		return (struct smc_row){SMC_BY_NORMAL, 6};
	case SMC_SECURE_DONE:
		return (struct smc_row){SMC_BY_SECURE, 1};
	case SMC_SECURE_RPC:
		return (struct smc_row){SMC_BY_SECURE, 1};
	case SMC_SECURE_READY:
		return (struct smc_row){SMC_BY_SECURE, 1};
	default:
		return (struct smc_row){0, 1};
	}
}
#endif

#endif
