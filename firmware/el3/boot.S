/* The monitor's entry, from the boot ROM: EL3h, MMU off, x0 = entry of the secure gate, x1 = entry of the normal gate. */
#include "sysreg.h"

	.section .text.boot, "ax"
	.global monitor_start
	.type monitor_start, %function
monitor_start:
	msr	daifset, #0xf
	adrp	x2, vectors
	add	x2, x2, :lo12:vectors
	msr	vbar_el3, x2
	ldr	w2, =SCTLR_EL3_RES1
	msr	sctlr_el3, x2
	msr	spsel, #1
	isb
	adrp	x2, __stack_end
	mov	sp, x2

	adrp	x2, __bss_start
	adrp	x3, __bss_end
1:	stp	xzr, xzr, [x2], #16
	cmp	x2, x3
	b.lo	1b

	mov	x29, xzr
	mov	x30, xzr
	bl	monitor_boot
	b	monitor_exit
