/* System registers (Arm ARM D19), barriers and device accesses. */
#ifndef SYSREG_H
#define SYSREG_H

/* SCR_EL3. Device FIQs are EL3's in both worlds; normal interrupts leave the secure world only. */
#define SCR_NS            (1 << 0)
#define SCR_IRQ           (1 << 1)
#define SCR_FIQ           (1 << 2)
#define SCR_EA            (1 << 3)
#define SCR_RES1          (3 << 4)
#define SCR_SIF           (1 << 9)
#define SCR_RW            (1 << 10)
#define SCR_COMMON        (SCR_FIQ | SCR_RES1 | SCR_SIF | SCR_RW)
#define SCR_SECURE_WORLD  (SCR_COMMON | SCR_IRQ)
#define SCR_NORMAL_WORLD  (SCR_COMMON | SCR_NS)
#define SCR_DRIVER_CONTEXT (SCR_COMMON | SCR_NS | SCR_IRQ)

/* MDCR_EL3. Debug and performance monitor registers are the normal world's; whoever else touches one comes to EL3. */
#define MDCR_TPM          (1 << 6)
#define MDCR_TDA          (1 << 9)
#define MDCR_TDOSA        (1 << 10)
#define MDCR_SPD32        (2 << 14)
#define MDCR_SDD          (1 << 16) /* no debug exceptions in the secure world */
#define MDCR_NORMAL_WORLD (MDCR_SDD | MDCR_SPD32)
#define MDCR_ALL_TRAPPED  (MDCR_NORMAL_WORLD | MDCR_TPM | MDCR_TDA | MDCR_TDOSA)

#define SPSR_EL1H_MASKED  0x3c5 /* EL1 with its own SP, all of DAIF set */
#define SPSR_SP_ELX       1
#define SPSR_AARCH32      0x10
#define SPSR_EL_SHIFT     2
#define SPSR_EL_MASK      3

#define SCTLR_EL1_RES1    0x30d00800
#define SCTLR_EL2_RES1    0x30c50830
#define SCTLR_EL3_RES1    0x30c50830
#define SCTLR_M           (1 << 0)
#define SCTLR_C           (1 << 2)
#define SCTLR_SA          (1 << 3)
#define SCTLR_I           (1 << 12)
#define SCTLR_WXN         (1 << 19)

#define ESR_EC_SHIFT      26
#define ESR_EC_UNKNOWN    0x00
#define ESR_EC_SMC64      0x17
#define ESR_IL            (1 << 25)
#define ESR_SMC_IMMEDIATE 0xffff

/* CNTHCTL_EL2: what of the physical counter and timer EL2 leaves to EL1. */
#define CNTHCTL_EL1_COUNTER 1
#define CNTHCTL_EL1_COUNTER_AND_TIMER 3

#define ISR_A_BIT         8 /* ISR_EL1: an SError is pending */
#define DAIF_A            4 /* of DAIFSet, DAIFClr: SErrors */

#define ATTRIBUTE_DEVICE  0
#define ATTRIBUTE_NORMAL  1
#define MAIR_VALUE        0xff04 /* 0: device nGnRE, 1: normal, write-back, allocating */

#ifndef __ASSEMBLER__
#include <stdint.h>

#define READ_SYSREG(name)                                                                                              \
	({                                                                                                             \
		uint64_t sysreg_value;                                                                                 \
		__asm__ volatile("mrs %0, " #name : "=r"(sysreg_value));                                               \
		sysreg_value;                                                                                          \
	})
#define WRITE_SYSREG(name, value) __asm__ volatile("msr " #name ", %0" : : "r"((uint64_t)(value)) : "memory")

static inline void isb(void)
{
	__asm__ volatile("isb" : : : "memory");
}

/* Orders against every observer in the inner shareable domain: the core's walker and the SMMU's. */
static inline void dsb(void)
{
	__asm__ volatile("dsb ish" : : : "memory");
}

/* Against devices too: a queue's memory before its doorbell. */
static inline void dsb_system(void)
{
	__asm__ volatile("dsb sy" : : : "memory");
}

static inline uint64_t counter(void)
{
	isb();
	return READ_SYSREG(cntpct_el0);
}

static inline uint32_t device_read(uint64_t address)
{
	return *(volatile uint32_t *)address;
}

static inline void device_write(uint64_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline void device_write64(uint64_t address, uint64_t value)
{
	*(volatile uint64_t *)address = value;
}
#endif

#endif
