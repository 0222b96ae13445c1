/*
 * The EL2 stub. Stage 2 refuses a normal-world access: the guest gets it back as an external abort of its own, as KVM
 * gives it (Arm ARM, "External aborts"). The driver context gets nothing back: EL3 hears of it. Position independent: the
 * monitor copies it into its carve-out, where the normal world cannot reach it. Nothing but aborts of EL1 and EL0, and what
 * CNTHCTL_EL2 traps of the driver, arrives here.
 *
 * EL3 may take the core away at any instruction of it and never come back (the driver's time is up). So it has no stack and
 * stores nothing: TPIDR_EL2 and SP_EL2 are scratch that is written before it is read in every visit, and every other
 * register of EL2 that it reads, the exception that led here has written.
 */
#include "flex_smc.h"

#define VTTBR_VMID_SHIFT	48
#define EC_SHIFT		26
#define EC_INSTRUCTION_ABORT	0x20
#define EC_DATA_ABORT		0x24
#define EC_SAME_LEVEL		(1 << EC_SHIFT)
#define ISS_IL			(1 << 25)
#define ISS_WNR			(1 << 6)
#define DFSC_EXTERNAL		0x10

#define SPSR_EL1H_MASKED	0x3c5
#define SPSR_SPSEL		0	/* bit number */
#define SPSR_LEVEL		(3 << 2)
#define SPSR_AARCH32		4	/* bit number */
#define VECTOR_EL1H		0x200	/* VECTOR_EL1T is 0 */
#define VECTOR_EL0		0x400
#define VECTOR_EL0_AARCH32	0x600

	.section .el2_stub, "ax"
	.balign	0x800
	.global el2_stub_start
el2_stub_start:
	.rept	8			/* EL2 itself */
	.balign	0x80
	b	el2_halt
	.endr
	.balign	0x80
	b	el2_synchronous
	.rept	7			/* interrupts are not routed here; the guest's EL1 is AArch64, whatever its EL0 is */
	.balign	0x80
	b	el2_halt
	.endr
	.balign	0x80

el2_synchronous:
	msr	tpidr_el2, x0
	mrs	x0, vttbr_el2
	lsr	x0, x0, #VTTBR_VMID_SHIFT
	cmp	x0, #VMID_DRIVER
	b.eq	el2_driver_fault
	mov	sp, x1
	mrs	x0, esr_el2
	lsr	x1, x0, #EC_SHIFT
	cmp	x1, #EC_DATA_ABORT
	b.eq	1f
	cmp	x1, #EC_INSTRUCTION_ABORT
	b.ne	el2_halt
1:
	and	x0, x0, #ISS_WNR
	orr	x0, x0, #DFSC_EXTERNAL
	orr	x0, x0, #ISS_IL
	orr	x0, x0, x1, lsl #EC_SHIFT
	mrs	x1, spsr_el2
	msr	spsr_el1, x1
	tst	x1, #SPSR_LEVEL
	b.eq	2f			/* from EL0 */
	orr	x0, x0, #EC_SAME_LEVEL
2:
	msr	esr_el1, x0
	mrs	x0, vbar_el1
	b.eq	3f
	tbz	x1, #SPSR_SPSEL, 5f
	add	x0, x0, #VECTOR_EL1H
	b	5f
3:
	tbnz	x1, #SPSR_AARCH32, 4f
	add	x0, x0, #VECTOR_EL0
	b	5f
4:
	add	x0, x0, #VECTOR_EL0_AARCH32
5:
	mrs	x1, elr_el2
	msr	elr_el1, x1
	msr	elr_el2, x0
	mrs	x0, far_el2
	msr	far_el1, x0
	mov	x0, #SPSR_EL1H_MASKED
	msr	spsr_el2, x0
	mov	x1, sp
	mrs	x0, tpidr_el2
	eret
	dsb	nsh
	isb

el2_driver_fault:			/* EL3 ends the driver's call and does not come back */
	smc	#0

el2_halt:
	wfi
	b	el2_halt
	.balign	8
	.global el2_stub_end
el2_stub_end:
