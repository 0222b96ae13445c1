/*
 * The gate: where a Python kernel lives, in either world or in the driver context. Position independent. The kernel resumes the core at a site
 * and is woken by an arrival; each is a WFI at its own symbol, where the machine stops.
 */
#include "gate.h"

	.macro	arrival name
	.global	\name
\name:
	wfi
	b	\name
	.endm

	.macro	pass_time		/* x8: turns of GATE_LONG_TURN instructions, x9: of two; both are zero behind it */
	cbz	x8, 2f
1:	.rept	GATE_LONG_TURN - 2	/* one long block: time passes in as few steps of the host as possible */
	nop
	.endr
	subs	x8, x8, #1
	b.ne	1b
2:	cbz	x9, 4f
3:	subs	x9, x9, #1
	b.ne	3b
4:
	.endm

	.section .text.start, "ax"
	.global gate_start
gate_start:				/* x0, x1: bounds of its memory; x2: number of the world or context; MMU off */
	msr	daifset, #0xf
	adrp	x3, gate_stack_end
	mov	sp, x3
	mov	x19, x0			/* the kernel finds the bounds in x0 and x1 */
	mov	x20, x1
	bl	gate_build_tables	/* gives the root in x0 and SCTLR_EL1 in x1 */
	msr	ttbr0_el1, x0
	msr	ttbr1_el1, xzr
	ldr	x2, =TCR_VALUE
	msr	tcr_el1, x2
	ldr	x2, =MAIR_VALUE
	msr	mair_el1, x2
	mov	x2, #CPACR_FPEN
	msr	cpacr_el1, x2
	adrp	x2, gate_vectors
	add	x2, x2, :lo12:gate_vectors
	msr	vbar_el1, x2
	tlbi	vmalle1
	dsb	ish
	isb
	msr	sctlr_el1, x1
	isb
	mov	x0, x19
	mov	x1, x20
	arrival	arrive_boot
	.ltorg

	.section .text, "ax"
	.global gate_call
gate_call:				/* x0-x7: the call, x8, x9: time before it */
	pass_time
	.global gate_smc
gate_smc:
	smc	#0
	b	arrive_return

	.global gate_busy
gate_busy:				/* x8, x9: time */
	pass_time
	b	arrive_return

	.global gate_tlbi
gate_tlbi:				/* x0: the operand of TLBI VALE1IS, all ones: every entry */
	dsb	ishst
	cmn	x0, #1
	b.eq	1f
	tlbi	vale1is, x0
	b	2f
1:	tlbi	vmalle1is
2:	dsb	ish
	isb
	b	arrive_return

	.global gate_touch
gate_touch:				/* x0: where to load from, to take the abort that its kernel's port reported */
	ldrb	w0, [x0]
	b	arrive_return

	.global gate_wait
gate_wait:				/* x8, x9: time before it */
	pass_time
	arrival	gate_idle
	.global registers_done		/* registers_smc, of probe/registers.S, is one more site */
registers_done:
	arrival	arrive_return
	arrival	arrive_entry		/* registered by SECURE_READY */
	arrival	arrive_revocation
	arrival	arrive_sync
	arrival	arrive_irq
	arrival	arrive_fiq
	arrival	arrive_serror

	.global gate_unmask
gate_unmask:				/* from here on an IRQ that is this EL1's interrupts its kernel */
	msr	daifclr, #2
	b	arrive_return

	.global gate_timer
gate_timer:				/* x0, x1: CNTP_CVAL_EL0, CNTP_CTL_EL0 */
	msr	cntp_cval_el0, x0
	msr	cntp_ctl_el0, x1
	isb
	b	arrive_return

	/* The handler's sites use the x registers; whatever the kernel was at goes on with its own. */
gate_irq:
	sub	sp, sp, #GATE_FRAME
	stp	x0, x1, [sp, #0x00]
	stp	x2, x3, [sp, #0x10]
	stp	x4, x5, [sp, #0x20]
	stp	x6, x7, [sp, #0x30]
	stp	x8, x9, [sp, #0x40]
	stp	x10, x11, [sp, #0x50]
	stp	x12, x13, [sp, #0x60]
	stp	x14, x15, [sp, #0x70]
	stp	x16, x17, [sp, #0x80]
	stp	x18, x19, [sp, #0x90]
	stp	x20, x21, [sp, #0xa0]
	stp	x22, x23, [sp, #0xb0]
	stp	x24, x25, [sp, #0xc0]
	stp	x26, x27, [sp, #0xd0]
	stp	x28, x29, [sp, #0xe0]
	mrs	x0, elr_el1
	mrs	x1, spsr_el1
	stp	x30, x0, [sp, #0xf0]
	str	x1, [sp, #0x100]
	b	arrive_irq

	/*
	 * Whoever was interrupted in gate_wait looks again for what it waits for: the handler may have brought it, and then
	 * nothing more would end its WFI. The time before that passes at the same place of gate_busy, which ends without one.
	 */
	.global gate_eret
gate_eret:
	ldp	x30, x0, [sp, #0xf0]
	ldr	x1, [sp, #0x100]
	adr	x2, gate_wait
	mov	x3, #(gate_idle - gate_wait)
	sub	x2, x0, x2
	cmp	x2, x3
	csel	x3, x2, x3, lo
	adr	x4, gate_busy
	add	x3, x3, x4
	mov	x4, #(gate_idle + 4 - gate_wait)
	cmp	x2, x4
	csel	x0, x3, x0, ls
	msr	elr_el1, x0
	msr	spsr_el1, x1
	ldp	x2, x3, [sp, #0x10]
	ldp	x4, x5, [sp, #0x20]
	ldp	x6, x7, [sp, #0x30]
	ldp	x8, x9, [sp, #0x40]
	ldp	x10, x11, [sp, #0x50]
	ldp	x12, x13, [sp, #0x60]
	ldp	x14, x15, [sp, #0x70]
	ldp	x16, x17, [sp, #0x80]
	ldp	x18, x19, [sp, #0x90]
	ldp	x20, x21, [sp, #0xa0]
	ldp	x22, x23, [sp, #0xb0]
	ldp	x24, x25, [sp, #0xc0]
	ldp	x26, x27, [sp, #0xd0]
	ldp	x28, x29, [sp, #0xe0]
	ldp	x0, x1, [sp, #0x00]
	add	sp, sp, #GATE_FRAME
	eret

	.section .text.vectors, "ax"
	.balign	0x800
	.global gate_vectors
gate_vectors:
	.rept	4			/* EL1 on SP_EL0, EL1, EL0, AArch32 EL0 */
	.balign	0x80
	b	arrive_sync
	.balign	0x80
	b	gate_irq
	.balign	0x80
	b	arrive_fiq
	.balign	0x80
	b	arrive_serror
	.endr
