/*
 * The monitor's entry, from the boot ROM: EL3h, MMU off; x0, x1, x2 = entries of the gates of the secure world, the normal
 * world and the driver context.
 */
#include "sysreg.h"

	.section .text.boot, "ax"
	.global monitor_start
	.type monitor_start, %function
monitor_start:
	msr	daifset, #0xf
	adrp	x9, vectors
	add	x9, x9, :lo12:vectors
	msr	vbar_el3, x9
	ldr	w9, =SCTLR_EL3_RES1
	msr	sctlr_el3, x9
	msr	spsel, #1
	isb
	adrp	x9, __stack_end
	mov	sp, x9

	adrp	x9, __bss_start
	adrp	x10, __bss_end
1:	stp	xzr, xzr, [x9], #16
	cmp	x9, x10
	b.lo	1b

	mov	x29, xzr
	mov	x30, xzr
	bl	monitor_boot
	b	monitor_exit
