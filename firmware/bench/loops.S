/*
 * Loops of calls from the normal world, at full speed. They end at probe_done, with x0 = 0 or the status of the call that
 * failed. The secure side of all but version_loop is bench/proxy.S.
 */
#include "flex_smc.h"

	.section .text, "ax"
	.global version_loop
version_loop:				/* x0: count of FLEX_VERSION calls */
	mov	x19, x0
1:	ldr	w0, =SMC_FLEX_VERSION
	smc	#0
	subs	x19, x19, #1
	b.ne	1b
	b	succeeded

	.global switch_loop
switch_loop:				/* x0: count of SECURE_CALLs that return at once: two world switches each */
	mov	x19, x0
1:	mov	x1, #0
	ldr	w0, =SMC_SECURE_CALL
	smc	#0
	cbnz	x0, probe_done
	subs	x19, x19, #1
	b.ne	1b
	b	succeeded

	/* One call, or its secure twin, on all pages of the extent in x20, x21. */
	.macro	normal_call function, flags=0
	mov	x22, x20
	mov	x23, x21
1:	ldr	w0, =\function
	mov	x1, x22
	mov	x2, x23
	mov	x3, #\flags
	smc	#0
	cbnz	x0, probe_done
	add	x22, x22, x1, lsl #12
	subs	x23, x23, x1
	b.ne	1b
	.endm

	.macro	secure_call function
	ldr	w0, =SMC_SECURE_CALL
	ldr	w1, =\function
	mov	x2, x20
	mov	x3, x21
	smc	#0
	cbnz	x0, probe_done
	mov	x0, x1
	cbnz	x0, probe_done
	.endm

	.global lock_loop
lock_loop:				/* x0: table of {base, pages}, x1: its length; allocates and locks each extent */
	mov	x18, x0
	mov	x19, x1
2:	ldp	x20, x21, [x18], #16
	normal_call SMC_MEM_ALLOCATE
	secure_call SMC_MEM_LOCK
	subs	x19, x19, #1
	b.ne	2b
	b	succeeded

	.global reclaim_loop
reclaim_loop:				/* the same table's other half: releases and reclaims each extent */
	mov	x18, x0
	mov	x19, x1
2:	ldp	x20, x21, [x18], #16
	secure_call SMC_MEM_RELEASE
	normal_call SMC_MEM_RECLAIM
	subs	x19, x19, #1
	b.ne	2b

succeeded:
	mov	x0, #0
	b	probe_done
	.ltorg
