/*
 * The EL2 stub. Stage 2 refuses a normal-world access: the guest gets it back as an external abort of its own, as KVM
 * gives it (Arm ARM, "External aborts"). The driver context gets nothing back: EL3 hears of it. Position independent: the
 * monitor copies it into its carve-out, where the normal world cannot reach it. MMU off, its own stack; nothing but aborts
 * of EL1 and EL0 arrives here.
 */
#include "flex_smc.h"

#define VTTBR_VMID_SHIFT	48
#define EC_SHIFT		26
#define EC_INSTRUCTION_ABORT	0x20
#define EC_DATA_ABORT		0x24
#define EC_SAME_LEVEL		1
#define ISS_IL			(1 << 25)
#define ISS_WNR			(1 << 6)
#define DFSC_EXTERNAL		0x10

#define SPSR_EL1H_MASKED	0x3c5
#define VECTOR_EL1T		0x000
#define VECTOR_EL1H		0x200
#define VECTOR_EL0		0x400

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
	.rept	7			/* interrupts are not routed here; the guest has no AArch32 */
	.balign	0x80
	b	el2_halt
	.endr
	.balign	0x80

el2_synchronous:
	stp	x0, x1, [sp, #-32]!
	stp	x2, x3, [sp, #16]
	mrs	x0, vttbr_el2
	lsr	x0, x0, #VTTBR_VMID_SHIFT
	cmp	x0, #VMID_DRIVER
	b.eq	el2_driver_fault
	mrs	x0, esr_el2
	lsr	x1, x0, #EC_SHIFT
	cmp	x1, #EC_DATA_ABORT
	b.eq	1f
	cmp	x1, #EC_INSTRUCTION_ABORT
	b.ne	el2_halt
1:
	mrs	x2, spsr_el2
	mov	x3, #VECTOR_EL0
	tst	x2, #0xc		/* from EL0? */
	b.eq	2f
	orr	x1, x1, #EC_SAME_LEVEL
	mov	x3, #VECTOR_EL1H
	tbnz	x2, #0, 2f
	mov	x3, #VECTOR_EL1T
2:
	and	x0, x0, #ISS_WNR
	orr	x0, x0, #DFSC_EXTERNAL
	orr	x0, x0, #ISS_IL
	orr	x0, x0, x1, lsl #EC_SHIFT
	msr	esr_el1, x0
	msr	spsr_el1, x2
	mrs	x0, far_el2
	msr	far_el1, x0
	mrs	x0, elr_el2
	msr	elr_el1, x0
	mrs	x0, vbar_el1
	add	x0, x0, x3
	msr	elr_el2, x0
	mov	x0, #SPSR_EL1H_MASKED
	msr	spsr_el2, x0
	ldp	x2, x3, [sp, #16]
	ldp	x0, x1, [sp], #32
	eret
	dsb	nsh
	isb

el2_driver_fault:			/* EL3 ends the driver's call and does not come back */
	add	sp, sp, #32
	mov	x0, #0
	smc	#0

el2_halt:
	wfi
	b	el2_halt
	.balign	8
	.global el2_stub_end
el2_stub_end:
