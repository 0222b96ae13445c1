/*
 * More of the hostile normal world's hands. Walks go through page tables of the attacker's choosing, which hang on
 * TTBR1_EL1, so that code and vectors stay mapped by TTBR0_EL1 whatever the walk meets. Each routine ends at probe_done.
 */
#define TCR_EPD1 (1 << 23) /* no walks through TTBR1_EL1 */

	/* Drops the one address, and nothing else that the TLB may hold on the attacker's behalf. */
	.macro	hang_root root, address, scratch
	mrs	\scratch, tcr_el1
	bic	\scratch, \scratch, #TCR_EPD1
	msr	tcr_el1, \scratch
	msr	ttbr1_el1, \root
	ubfx	\scratch, \address, #12, #44
	tlbi	vaae1, \scratch
	dsb	ish
	isb
	.endm

	.section .text, "ax"
	.global probe_walk
probe_walk:				/* x0: root of the upper half, x1: address there; gives its 8 bytes in x0 */
	hang_root x0, x1, x2
	ldr	x0, [x1]
	b	probe_done

	.global probe_walk_at
probe_walk_at:				/* the same, but asks AT: gives PAR_EL1 in x0 */
	hang_root x0, x1, x2
	at	s1e1r, x1
	isb
	mrs	x0, par_el1
	b	probe_done

	.global probe_call_after
probe_call_after:			/* x8: turns of two instructions to wait, x9, w10: a device register to write first; then SMC */
	str	w10, [x9]
	dsb	sy
1:	subs	x8, x8, #1
	b.ne	1b
	smc	#0
	b	probe_done

	.global probe_floor
probe_floor:				/* x0-x3: the registers that registers.S cannot plant without falling */
	mrs	x0, sctlr_el1
	mrs	x1, ttbr0_el1
	mrs	x2, tcr_el1
	mrs	x3, actlr_el1
	b	probe_done

	.global probe_registers
probe_registers:			/* x0: a register block (register_block.h) */
	mov	sp, x0
	b	registers_smc
