/*
 * An SMC with every register of EL1 chosen by the caller, and every one recorded afterwards: arguments beyond a call's
 * own, and whether a world switch keeps the worlds apart. SP points to the block of register_block.h and is used for nothing
 * else. Position independent: it runs in both worlds.
 */
#include "register_block.h"

	.arch_extension fp
	.arch_extension simd

	/* Those that a kernel can change without pulling the floor from under itself. */
	.macro	each_register action
	\action	tpidr_el0
	\action	tpidrro_el0
	\action	tpidr_el1
	\action	contextidr_el1
	\action	amair_el1
	\action	mair_el1
	\action	ttbr1_el1
	\action	vbar_el1
	\action	cpacr_el1
	\action	esr_el1
	\action	far_el1
	\action	afsr0_el1
	\action	afsr1_el1
	\action	par_el1
	\action	elr_el1
	\action	spsr_el1
	\action	sp_el0
	\action	csselr_el1
	\action	cntkctl_el1
	.endm

	.macro	plant name
	ldr	x0, [x1], #8
	msr	\name, x0
	.endm

	.macro	collect name
	mrs	x0, \name
	str	x0, [x1], #8
	.endm

	.macro	name_of name
	.asciz	"\name"
	.endm

	.macro	each_pair action, block
	\action	x0, x1, [sp, #\block + 0]
	\action	x2, x3, [sp, #\block + 16]
	\action	x4, x5, [sp, #\block + 32]
	\action	x6, x7, [sp, #\block + 48]
	\action	x8, x9, [sp, #\block + 64]
	\action	x10, x11, [sp, #\block + 80]
	\action	x12, x13, [sp, #\block + 96]
	\action	x14, x15, [sp, #\block + 112]
	\action	x16, x17, [sp, #\block + 128]
	\action	x18, x19, [sp, #\block + 144]
	\action	x20, x21, [sp, #\block + 160]
	\action	x22, x23, [sp, #\block + 176]
	\action	x24, x25, [sp, #\block + 192]
	\action	x26, x27, [sp, #\block + 208]
	\action	x28, x29, [sp, #\block + 224]
	.endm

	.macro	each_vector action
	\action	q0, q1, [x1], #32
	\action	q2, q3, [x1], #32
	\action	q4, q5, [x1], #32
	\action	q6, q7, [x1], #32
	\action	q8, q9, [x1], #32
	\action	q10, q11, [x1], #32
	\action	q12, q13, [x1], #32
	\action	q14, q15, [x1], #32
	\action	q16, q17, [x1], #32
	\action	q18, q19, [x1], #32
	\action	q20, q21, [x1], #32
	\action	q22, q23, [x1], #32
	\action	q24, q25, [x1], #32
	\action	q26, q27, [x1], #32
	\action	q28, q29, [x1], #32
	\action	q30, q31, [x1], #32
	.endm

	.section .text, "ax"
	.global registers_smc
registers_smc:
	add	x1, sp, #REGISTERS_PLANTED + REGISTERS_V
	each_vector ldp
	ldr	x0, [sp, #REGISTERS_PLANTED + REGISTERS_FPCR]
	msr	fpcr, x0
	ldr	x0, [sp, #REGISTERS_PLANTED + REGISTERS_FPSR]
	msr	fpsr, x0
	add	x1, sp, #REGISTERS_PLANTED + REGISTERS_EL1
	each_register plant
	isb
	each_pair ldp, REGISTERS_PLANTED
	ldr	x30, [sp, #REGISTERS_PLANTED + 240]
	smc	#0
	/* No instruction between the call and these stores changes a register. */
	.global registers_returned
registers_returned:
	str	x30, [sp, #REGISTERS_FOUND_X30]
	add	x30, sp, #REGISTERS_FOUND
	mov	sp, x30
	each_pair stp, 0
	mrs	x0, nzcv
	str	x0, [sp, #REGISTERS_NZCV]
	mrs	x0, fpcr
	str	x0, [sp, #REGISTERS_FPCR]
	mrs	x0, fpsr
	str	x0, [sp, #REGISTERS_FPSR]
	add	x1, sp, #REGISTERS_V
	each_vector stp
	add	x1, sp, #REGISTERS_EL1
	each_register collect
	sub	x0, sp, #REGISTERS_FOUND
	mov	sp, x0
	b	registers_done		/* the image's own end of a routine */

	.section .rodata.registers, "a"
	.global registers_names
registers_names:			/* of the block's EL1 part, in its order, each with a zero byte; an empty name ends */
	each_register name_of
	.byte	0
	.global registers_names_end
registers_names_end:
