/* System registers that the native code reads or writes: op0, op1, CRn, CRm, op2 (Arm ARM D19). */
#ifndef SYSREGS_H
#define SYSREGS_H

#define MDSCR_EL1 2, 0, 0, 2, 2
#define PMSELR_EL0 3, 3, 9, 12, 5
#define MDCR_EL2 3, 4, 1, 1, 1
#define MDCR_EL3 3, 6, 1, 3, 1
#define SCTLR_EL1 3, 0, 1, 0, 0
#define CPACR_EL1 3, 0, 1, 0, 2
#define TTBR0_EL1 3, 0, 2, 0, 0
#define TTBR1_EL1 3, 0, 2, 0, 1
#define TCR_EL1 3, 0, 2, 0, 2
#define SPSR_EL1 3, 0, 4, 0, 0
#define ELR_EL1 3, 0, 4, 0, 1
#define ESR_EL1 3, 0, 5, 2, 0
#define FAR_EL1 3, 0, 6, 0, 0
#define PAR_EL1 3, 0, 7, 4, 0
#define MAIR_EL1 3, 0, 10, 2, 0
#define VBAR_EL1 3, 0, 12, 0, 0
#define VBAR_EL2 3, 4, 12, 0, 0
#define VBAR_EL3 3, 6, 12, 0, 0
#define PMUSERENR_EL0 3, 3, 9, 14, 0
#define CNTKCTL_EL1 3, 0, 14, 1, 0
#define CNTHCTL_EL2 3, 4, 14, 1, 0
#define SCTLR_EL2 3, 4, 1, 0, 0
#define HCR_EL2 3, 4, 1, 1, 0
#define CPTR_EL2 3, 4, 1, 1, 2
#define TTBR0_EL2 3, 4, 2, 0, 0
#define TCR_EL2 3, 4, 2, 0, 2
#define VTTBR_EL2 3, 4, 2, 1, 0
#define VTCR_EL2 3, 4, 2, 1, 2
#define SPSR_EL2 3, 4, 4, 0, 0
#define ELR_EL2 3, 4, 4, 0, 1
#define HPFAR_EL2 3, 4, 6, 0, 4
#define MAIR_EL2 3, 4, 10, 2, 0
#define SCTLR_EL3 3, 6, 1, 0, 0
#define SCR_EL3 3, 6, 1, 1, 0
#define CPTR_EL3 3, 6, 1, 1, 2
#define TTBR0_EL3 3, 6, 2, 0, 0
#define TCR_EL3 3, 6, 2, 0, 2
#define SPSR_EL3 3, 6, 4, 0, 0
#define ELR_EL3 3, 6, 4, 0, 1
#define MAIR_EL3 3, 6, 10, 2, 0

/* What translation reads on every miss, exception entry, and who passes time; a copy of each is kept until it is written. */
struct translation_registers {
	uint32_t current; /* a bit for each: it is what the core holds */
	uint64_t scr_el3, hcr_el2, vtcr_el2, vttbr_el2;
	uint64_t sctlr_el1, tcr_el1, ttbr0_el1, ttbr1_el1, mair_el1;
	uint64_t sctlr_el2, tcr_el2, ttbr0_el2, mair_el2;
	uint64_t sctlr_el3, tcr_el3, ttbr0_el3, mair_el3;
	uint64_t vbar[4]; /* by exception level */
	uint64_t mdscr_el1;
};

#define sysreg(machine, ...) core_read_sysreg(machine, __VA_ARGS__)
#define set_sysreg(machine, ...) core_store_sysreg(machine, __VA_ARGS__)

#endif
