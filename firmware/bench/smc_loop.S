/*
 * The yardstick: SMC round trips from NS-EL1 to an EL3 vector that does next to nothing, on QEMU's
 * `virt,secure=on,virtualization=on` and on our core alike. Starts at EL3, MMU off; smc_loop_count says how many.
 */
#define SCR_NORMAL_AARCH64	0x531		/* RW, HCE, RES1, NS */
#define HCR_RW			0x80000000
#define SPSR_EL1H_MASKED	0x3c5

#define SEMIHOSTING_EXIT	0x18
#define ADP_STOPPED_APPLICATION_EXIT 0x20026

	.section .text, "ax"
	.global smc_loop_start
smc_loop_start:
	adr	x2, el3_vectors
	msr	vbar_el3, x2
	adr	x2, el1_vectors
	msr	vbar_el1, x2
	mov	x2, #SCR_NORMAL_AARCH64
	msr	scr_el3, x2
	ldr	x2, =HCR_RW
	msr	hcr_el2, x2
	mov	x2, #SPSR_EL1H_MASKED
	msr	spsr_el3, x2
	adr	x2, smc_loop
	msr	elr_el3, x2
	mov	x0, #0
	ldr	x1, smc_loop_count
	eret

smc_loop:
	smc	#0
	sub	x1, x1, #1
	cbnz	x1, smc_loop
	/* QEMU ends here. On our core HLT is undefined, and the vector stops the machine. */
	mov	w0, #SEMIHOSTING_EXIT
	adr	x1, exit_block
	hlt	#0xf000
	.global smc_loop_done
smc_loop_done:
	wfi
	b	smc_loop_done

	.balign	8
exit_block:
	.quad	ADP_STOPPED_APPLICATION_EXIT, 0
	.global smc_loop_count
	.type smc_loop_count, %object
smc_loop_count:
	.quad	1000000
	.ltorg

	.balign	0x800
el3_vectors:
	.space	0x400
	add	x0, x0, #1
	eret

	.balign	0x800
el1_vectors:
	.space	0x200
	b	smc_loop_done
	.space	0x600 - 4
