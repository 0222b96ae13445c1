/*
 * The yardstick of `bench exec`: runs one kernel of kernels.c a number of times at EL3, with the MMU on, and ends by
 * semihosting SYS_EXIT, on QEMU's `virt,secure=on,virtualization=on` and on our board alike.
 */
#define MAIR_NORMAL		0xff
#define TCR_39_BITS_INNER_SHARED 0x80823519	/* RES1, PS 40 bits, inner shareable, write-back, T0SZ 25 */
#define SCTLR_MMU_AND_CACHES	0x30c51835	/* RES1, I, C, M */
#define BLOCK_NORMAL		0x701		/* AF, inner shareable, MAIR index 0, 1 GiB */

#define SEMIHOSTING_EXIT	0x18
#define ADP_STOPPED_APPLICATION_EXIT 0x20026
#define ADP_STOPPED_INTERNAL_ERROR 0x20024

	.section .text, "ax"
	.global yardstick_start
yardstick_start:
	adr	x0, vectors
	msr	vbar_el3, x0
	adrp	x0, stack_top
	mov	sp, x0
	adrp	x0, level1
	mov	x1, #0x40000000
	mov	x2, #BLOCK_NORMAL
	orr	x1, x1, x2
	str	x1, [x0, #8]
	msr	ttbr0_el3, x0
	mov	x1, #MAIR_NORMAL
	msr	mair_el3, x1
	ldr	x1, =TCR_39_BITS_INNER_SHARED
	msr	tcr_el3, x1
	tlbi	alle3
	dsb	sy
	isb
	ldr	x1, =SCTLR_MMU_AND_CACHES
	msr	sctlr_el3, x1
	isb
	ldr	x0, yardstick_kernel
	ldr	x1, yardstick_count
	bl	run_kernel
	cbnz	x0, failed
	ldr	x2, =ADP_STOPPED_APPLICATION_EXIT
	b	exit
failed:
	ldr	x2, =ADP_STOPPED_INTERNAL_ERROR
exit:
	adrp	x1, exit_block
	add	x1, x1, :lo12:exit_block
	stp	x2, xzr, [x1]
	mov	w0, #SEMIHOSTING_EXIT
	hlt	#0xf000
	b	.

	.balign	8
	.global yardstick_kernel, yardstick_count
	.type yardstick_kernel, %object
	.type yardstick_count, %object
yardstick_kernel:
	.quad	0
yardstick_count:
	.quad	1
	.ltorg

	.balign	0x800
vectors:
	.rept	16
	b	failed
	.balign	0x80
	.endr

	.section .bss, "aw", %nobits
	.balign	0x1000
level1:
	.space	0x1000
	.space	0x4000
stack_top:
	.space	0x1000
exit_block:
	.space	16
