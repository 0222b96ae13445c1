/* The monitor's carve-out of normal memory: offsets from its base. The CPU and the SMMU's walker reach it, nobody else. */
#ifndef CARVE_OUT_H
#define CARVE_OUT_H

#define CARVE_OUT_EL2_STUB       0x00000
#define CARVE_OUT_EL2_STACK_END  0x02000
#define CARVE_OUT_NORMAL_ROOT    0x02000
#define CARVE_OUT_STORAGE_ROOT   0x03000
#define CARVE_OUT_DEVICE_LEVEL2  0x04000
#define CARVE_OUT_DEVICE_LEVEL3  0x05000 /* three tables */
#define CARVE_OUT_STREAM_TABLE   0x08000
#define CARVE_OUT_COMMAND_QUEUE  0x09000
#define CARVE_OUT_EVENT_QUEUE    0x0a000
#define CARVE_OUT_NPU_ROOT       0x0b000 /* of the NPU's streams in secure mode */
#define CARVE_OUT_NPU_WINDOWS    0x0c000 /* level 3 of the NPU's registers, linked from one core table at a time */
#define CARVE_OUT_DRIVER_ROOT    0x0d000
#define CARVE_OUT_DRIVER_DEVICES 0x0e000 /* level 2 */
#define CARVE_OUT_DRIVER_LEVEL2  0x0f000
#define CARVE_OUT_DRAM_LEVEL2    0x10000 /* a table a GiB, in a row: indexed by 2 MiB block */
#define CARVE_OUT_NPU_LEVEL2     0x20000 /* a table a GiB, in a row */
#define CARVE_OUT_DRIVER_LEVEL3  0x24000
#define CARVE_OUT_DRAM_LEVEL3    0x200000 /* an entry a page, in a row: indexed by page */

#endif
