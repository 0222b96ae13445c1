#include "cpu.h"

#include "memory_map.h"
#include "panic.h"
#include "sysreg.h"

#define CURRENT_EL3 (3 << 2)
#define MMFR0_PARANGE_MASK 0xf
#define MMFR0_PARANGE_36_BITS 1
#define MMFR0_TGRAN4_SHIFT 28
#define MMFR0_TGRAN4_NONE 0xf
#define DCZID_MASK 0x1f /* DZP and BS */
#define DCZID_64_BYTES 4

#define CPTR_EL2_RES1 0x33ff /* nothing traps, FP and SIMD included */
#define HCR_VM (1 << 0)
#define HCR_SWIO (1 << 1) /* a guest's set/way invalidate cleans, too */
#define HCR_RW (UINT64_C(1) << 31)
#define PMCR_N_SHIFT 11
#define PMCR_N_MASK 0x1f

void cpu_check(void)
{
	uint64_t mmfr0 = READ_SYSREG(id_aa64mmfr0_el1);

	if (READ_SYSREG(currentel) != CURRENT_EL3) {
		panic("cpu: the monitor was not entered at EL3");
	}
	if ((mmfr0 & MMFR0_PARANGE_MASK) < MMFR0_PARANGE_36_BITS) {
		panic("cpu: fewer than 36 physical address bits");
	}
	if ((mmfr0 >> MMFR0_TGRAN4_SHIFT & 0xf) == MMFR0_TGRAN4_NONE) {
		panic("cpu: no 4 KiB granule");
	}
	if ((READ_SYSREG(dczid_el0) & DCZID_MASK) != DCZID_64_BYTES) {
		panic("cpu: DC ZVA does not zero 64 bytes");
	}
}

void cpu_configure(void)
{
	WRITE_SYSREG(scr_el3, SCR_SECURE_WORLD);
	WRITE_SYSREG(cptr_el3, 0);
	WRITE_SYSREG(mdcr_el3, MDCR_ALL_TRAPPED);
	WRITE_SYSREG(actlr_el3, 0); /* the A72's own registers: no lower level writes them */
	WRITE_SYSREG(actlr_el2, 0);

	WRITE_SYSREG(hcr_el2, HCR_RW | HCR_SWIO | HCR_VM);
	WRITE_SYSREG(sctlr_el2, SCTLR_EL2_RES1);
	WRITE_SYSREG(cptr_el2, CPTR_EL2_RES1);
	WRITE_SYSREG(hstr_el2, 0);
	WRITE_SYSREG(mdcr_el2, READ_SYSREG(pmcr_el0) >> PMCR_N_SHIFT & PMCR_N_MASK);
	WRITE_SYSREG(cnthctl_el2, CNTHCTL_EL1_COUNTER_AND_TIMER);
	WRITE_SYSREG(cntvoff_el2, 0);
	WRITE_SYSREG(cnthp_ctl_el2, 0); /* a reset leaves it as it likes */
	WRITE_SYSREG(cntfrq_el0, COUNTER_HZ);
	WRITE_SYSREG(vpidr_el2, READ_SYSREG(midr_el1));
	WRITE_SYSREG(vmpidr_el2, READ_SYSREG(mpidr_el1));
	isb();
}
