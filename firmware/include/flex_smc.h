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

/* Who may make each call, and how many registers from x0 on carry its results. */
#define SMC_SMCCC_VERSION_BY      3
#define SMC_SMCCC_VERSION_RESULTS 1
#define SMC_SMCCC_ARCH_FEATURES_BY      3
#define SMC_SMCCC_ARCH_FEATURES_RESULTS 1
#define SMC_PSCI_VERSION_BY      2
#define SMC_PSCI_VERSION_RESULTS 1
#define SMC_PSCI_SYSTEM_OFF_BY      2
#define SMC_PSCI_SYSTEM_OFF_RESULTS 0
#define SMC_PSCI_FEATURES_BY      2
#define SMC_PSCI_FEATURES_RESULTS 1
#define SMC_FLEX_UID_BY      3
#define SMC_FLEX_UID_RESULTS 4
#define SMC_FLEX_REVISION_BY      3
#define SMC_FLEX_REVISION_RESULTS 2
#define SMC_FLEX_VERSION_BY      3
#define SMC_FLEX_VERSION_RESULTS 1
#define SMC_FLEX_FEATURES_BY      3
#define SMC_FLEX_FEATURES_RESULTS 2
#define SMC_MEM_ALLOCATE_BY      2
#define SMC_MEM_ALLOCATE_RESULTS 2
#define SMC_MEM_LOCK_BY      1
#define SMC_MEM_LOCK_RESULTS 2
#define SMC_MEM_RECALL_BY      2
#define SMC_MEM_RECALL_RESULTS 3
#define SMC_MEM_RELEASE_BY      1
#define SMC_MEM_RELEASE_RESULTS 2
#define SMC_MEM_RECLAIM_BY      2
#define SMC_MEM_RECLAIM_RESULTS 2
#define SMC_MEM_NEXT_RELEASED_BY      2
#define SMC_MEM_NEXT_RELEASED_RESULTS 4
#define SMC_MEM_NEXT_REVOKED_BY      1
#define SMC_MEM_NEXT_REVOKED_RESULTS 4
#define SMC_MEM_ACK_REVOKED_BY      1
#define SMC_MEM_ACK_REVOKED_RESULTS 2
#define SMC_SECURE_CALL_BY      2
#define SMC_SECURE_CALL_RESULTS 6
#define SMC_SECURE_RESUME_BY      2
#define SMC_SECURE_RESUME_RESULTS 6
#define SMC_SECURE_DONE_BY      1
#define SMC_SECURE_DONE_RESULTS 1
#define SMC_SECURE_RPC_BY      1
#define SMC_SECURE_RPC_RESULTS 1
#define SMC_SECURE_READY_BY      1
#define SMC_SECURE_READY_RESULTS 1

#endif
