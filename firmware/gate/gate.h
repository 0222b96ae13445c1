/* EL1 translation of the gates (Arm ARM D19): 39-bit addresses from TTBR0, none from TTBR1. */
#ifndef GATE_H
#define GATE_H

#define TCR_T0SZ         25
#define TCR_WALKS_CACHED (1 << 8 | 1 << 10)
#define TCR_SHARED       (3 << 12)
#define TCR_T1SZ         (25 << 16)
#define TCR_EPD1         (1 << 23)
#define TCR_TG1_4K       (2 << 30)
#define TCR_IPS_36_BITS  (1 << 32)
#define TCR_VALUE                                                                                                      \
	(TCR_T0SZ | TCR_WALKS_CACHED | TCR_SHARED | TCR_T1SZ | TCR_EPD1 | TCR_TG1_4K | TCR_IPS_36_BITS)

#define MAIR_VALUE       0xff04 /* 0: device nGnRE, 1: normal, write-back, allocating */
#define CPACR_FPEN       (3 << 20)

#define SCTLR_RES1       0x30d00800
#define SCTLR_M          (1 << 0)
#define SCTLR_C          (1 << 2)
#define SCTLR_SA         (1 << 3)
#define SCTLR_I          (1 << 12)
#define SCTLR_WXN        (1 << 19)

#define GATE_LONG_TURN   256 /* instructions of a turn of the busy loop: INSTRUCTIONS_PER_LONG_TURN of its kernel */
#define GATE_FRAME       0x110 /* what an interrupt saves: x0 to x30, ELR_EL1, SPSR_EL1 */

#endif
