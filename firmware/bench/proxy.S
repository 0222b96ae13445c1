/*
 * A secure world for measurements, at the speed of guest code: it makes the call that the normal world names in x1 on the
 * extent in x2, x3, and returns its status in x1. Not part of the gate that serves: there it would be a confused deputy.
 */
#include "flex_smc.h"

	.section .text, "ax"
	.global proxy_entry
proxy_entry:
	mov	x19, x1
	mov	x20, x2
	mov	x21, x3
	cbz	x19, 2f
1:	mov	x0, x19
	mov	x1, x20
	mov	x2, x21
	smc	#0
	cbnz	x0, 3f
	add	x20, x20, x1, lsl #12
	subs	x21, x21, x1
	b.ne	1b
2:	mov	x0, #0
3:	mov	x1, x0
	mov	x2, #0
	mov	x3, #0
	ldr	w0, =SMC_SECURE_DONE
	smc	#0
	.ltorg
