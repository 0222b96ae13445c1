/*
 * The world switch: what EL1 of a context shares with EL1 of the others. The only place where EL3 touches vector
 * registers. EL2's registers are not here: the secure world has no EL2, and the normal world's stay as they are. The
 * registers of debug and of the performance monitors are the normal world's: MDCR_EL3 keeps the others from them. But with
 * PMCR_EL0.E clear, as theirs is, nothing of theirs is counted.
 *
 * EL1's timers are the normal world's as well, and go on in every context: its ticks preempt. Nothing can trap CNTV from the
 * others, so whoever comes next finds them as the normal world left them.
 */
#include "context.h"

	.arch_extension fp
	.arch_extension simd

	.macro	save_register name
	mrs	x9, \name
	str	x9, [x0], #8
	.endm

	.macro	restore_register name
	ldr	x9, [x0], #8
	msr	\name, x9
	.endm

	/* x1: what the register holds, as just saved. Most hold the same in both, and a write costs more than a look. */
	.macro	change_register name
	ldr	x9, [x0], #8
	ldr	x11, [x1], #8
	cmp	x9, x11
	b.eq	1f
	msr	\name, x9
1:
	.endm

	.macro	each_vector_pair action
	\action	q0, q1, 0
	\action	q2, q3, 32
	\action	q4, q5, 64
	\action	q6, q7, 96
	\action	q8, q9, 128
	\action	q10, q11, 160
	\action	q12, q13, 192
	\action	q14, q15, 224
	\action	q16, q17, 256
	\action	q18, q19, 288
	\action	q20, q21, 320
	\action	q22, q23, 352
	\action	q24, q25, 384
	\action	q26, q27, 416
	\action	q28, q29, 448
	\action	q30, q31, 480
	.endm

	.macro	save_vectors first, second, offset
	stp	\first, \second, [x10, #\offset]
	.endm

	.macro	restore_vectors first, second, offset
	ldp	\first, \second, [x10, #\offset]
	.endm

	/* All but EL1's registers, at which x0 points afterwards; SCR_EL3 in x12, MDCR_EL3 in x14. */
	.macro	enter_common
	msr	tpidr_el3, x0
	add	x10, x0, #CONTEXT_V
	each_vector_pair restore_vectors
	ldp	x9, x11, [x0, #CONTEXT_FPCR]
	msr	fpcr, x9
	msr	fpsr, x11
	ldp	x12, x14, [x0, #CONTEXT_SCR]
	add	x0, x0, #CONTEXT_EL1
	.endm

	.section .text, "ax"
	.global world_switch
	.type world_switch, %function
world_switch:
	add	x10, x0, #CONTEXT_V
	each_vector_pair save_vectors
	mrs	x9, fpcr
	mrs	x11, fpsr
	stp	x9, x11, [x0, #CONTEXT_FPCR]
	mov	x13, x1
	add	x0, x0, #CONTEXT_EL1
	mov	x1, x0
	each_el1_register save_register
	each_timer_register save_register
	mov	x0, x13
	enter_common
	each_el1_register change_register
	adrp	x0, contexts + CONTEXT_NORMAL + CONTEXT_TIMERS
	add	x0, x0, :lo12:contexts + CONTEXT_NORMAL + CONTEXT_TIMERS
	cmp	x0, x1
	b.eq	2f			/* it is the normal world that was left */
	each_timer_register change_register
2:
	msr	mdcr_el3, x14
	msr	scr_el3, x12
	isb
	ret

	.global world_enter
	.type world_enter, %function
world_enter:
	enter_common
	each_el1_register restore_register
	msr	mdcr_el3, x14
	msr	scr_el3, x12
	isb
	ret
