/*
 * EL3's vectors. A synchronous exception from a lower level in AArch64 saves the world's x registers and return state and
 * goes to smc_entry, an IRQ to irq_entry, an FIQ to fiq_entry; whatever they do, they leave by monitor_exit. Everything else is a fault of the
 * platform or of EL3 itself: a panic by name.
 */
#include "context.h"

	/* The panic's own stack: the usual one may be what failed. */
	.macro	panic_vector kind
	.balign	0x80
	adrp	x0, __panic_stack_end
	mov	sp, x0
	mov	x0, #\kind
	b	panic_exception
	.endm

	.section .text.vectors, "ax"
	.balign	0x800
	.global vectors
vectors:
	panic_vector 0			/* EL3 on SP_EL0: synchronous, IRQ, FIQ, SError */
	panic_vector 1
	panic_vector 2
	panic_vector 3
	panic_vector 4			/* EL3 */
	panic_vector 5
	panic_vector 6
	.balign	0x80			/* an SError, which EL3 lets come in one place only: see left_behind */
	eret

	/* x0, x20: the context of the world that was left; x19: what was pending, its own stores answered. */
	.macro	save_context
	stp	x0, x1, [sp, #-16]!
	mrs	x0, tpidr_el3
	stp	x2, x3, [x0, #0x10]
	stp	x4, x5, [x0, #0x20]
	stp	x6, x7, [x0, #0x30]
	stp	x8, x9, [x0, #0x40]
	stp	x10, x11, [x0, #0x50]
	stp	x12, x13, [x0, #0x60]
	stp	x14, x15, [x0, #0x70]
	stp	x16, x17, [x0, #0x80]
	stp	x18, x19, [x0, #0x90]
	stp	x20, x21, [x0, #0xa0]
	stp	x22, x23, [x0, #0xb0]
	stp	x24, x25, [x0, #0xc0]
	stp	x26, x27, [x0, #0xd0]
	stp	x28, x29, [x0, #0xe0]
	mrs	x1, elr_el3
	mrs	x2, spsr_el3
	str	x30, [x0, #(CONTEXT_X + 30 * 8)]
	stp	x1, x2, [x0, #CONTEXT_ELR]
	ldp	x1, x2, [sp], #16
	stp	x1, x2, [x0, #CONTEXT_X]
	mov	x20, x0
	dsb	sy
	mrs	x19, isr_el1
	.endm

	.balign	0x80			/* lower level, AArch64, synchronous: 32 instructions at most */
	save_context
	mrs	x1, esr_el3
	bl	smc_entry
	b	checked_exit

	.balign	0x80			/* lower level, AArch64: IRQ, FIQ, SError */
	b	irq_from_below
	.balign	0x80
	b	fiq_from_below
	panic_vector 11

	/*
	 * Lower level, AArch32. The level below EL3 decides that, not the one interrupted (Arm ARM D1.10.2), and both of the
	 * normal world's are AArch64; should a core count AArch32 EL0 here, its interrupts are interrupts all the same.
	 */
	panic_vector 12
	.balign	0x80
	b	irq_from_below
	.balign	0x80
	b	fiq_from_below
	panic_vector 15

	.section .text, "ax"
irq_from_below:
	save_context
	bl	irq_entry
	b	checked_exit
fiq_from_below:
	save_context
	bl	fiq_entry
checked_exit:
	dsb	sy
	mrs	x1, isr_el1
	bic	x1, x1, x19
	tbnz	x1, #ISR_A_BIT, serror_at_el3
	tbnz	x19, #ISR_A_BIT, left_behind
	b	monitor_exit

	/*
	 * What was pending at entry is the world's own: it waits for that, but goes with nobody into another one. A driver's
	 * would hit the normal world. EL3 takes it, and that is all that comes of it.
	 */
left_behind:
	mrs	x0, tpidr_el3
	cmp	x0, x20
	b.eq	monitor_exit
	mrs	x0, scr_el3
	orr	x1, x0, #SCR_EA
	msr	scr_el3, x1
	isb
	msr	daifclr, #DAIF_A
	isb
	msr	daifset, #DAIF_A
	msr	scr_el3, x0
	isb
	b	monitor_exit

	/*
	 * With SCR_EL3.EA=0 an SError is never taken at EL3: one that EL3's own store caused would wait for the ERET and hit
	 * the world that is entered.
	 */
serror_at_el3:
	adrp	x0, serror_text
	add	x0, x0, :lo12:serror_text
	b	panic

	.global monitor_exit
	.type monitor_exit, %function
monitor_exit:
	mrs	x0, tpidr_el3
	ldp	x1, x2, [x0, #CONTEXT_ELR]
	msr	elr_el3, x1
	msr	spsr_el3, x2
	ldr	x30, [x0, #(CONTEXT_X + 30 * 8)]
	ldp	x2, x3, [x0, #0x10]
	ldp	x4, x5, [x0, #0x20]
	ldp	x6, x7, [x0, #0x30]
	ldp	x8, x9, [x0, #0x40]
	ldp	x10, x11, [x0, #0x50]
	ldp	x12, x13, [x0, #0x60]
	ldp	x14, x15, [x0, #0x70]
	ldp	x16, x17, [x0, #0x80]
	ldp	x18, x19, [x0, #0x90]
	ldp	x20, x21, [x0, #0xa0]
	ldp	x22, x23, [x0, #0xb0]
	ldp	x24, x25, [x0, #0xc0]
	ldp	x26, x27, [x0, #0xd0]
	ldp	x28, x29, [x0, #0xe0]
	ldp	x0, x1, [x0, #CONTEXT_X]
	eret
	dsb	nsh			/* nothing is executed speculatively behind an ERET */
	isb

	.global monitor_halted
	.type monitor_halted, %function
monitor_halted:				/* where a panic ends */
	wfi
	b	monitor_halted

	.section .rodata, "a"
serror_text:
	.asciz	"a store of EL3 was refused (SError)"
