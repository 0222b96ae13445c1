/*
 * The hostile normal world's hands: single accesses at NS-EL1, as real instructions. Position independent. Every routine
 * of this image ends at probe_done; one that faults ends in the gate's vector table instead.
 */
	.section .text, "ax"
	.global probe_start
probe_start:
	b	probe_done

	.global probe_read
probe_read:				/* x0: address; gives its 8 bytes in x0 */
	ldr	x0, [x0]
	b	probe_done

	.global probe_read_word
probe_read_word:			/* the same with 4 bytes, as a device's register gives them */
	ldr	w0, [x0]
	b	probe_done

	.global probe_write
probe_write:				/* x0: address, x1: the 8 bytes */
	str	x1, [x0]
	dsb	sy
	b	probe_done

	.global probe_write_word
probe_write_word:			/* x0: address, w1: the 4 bytes, as a device's register takes them */
	str	w1, [x0]
	dsb	sy
	b	probe_done

	.global probe_exec
probe_exec:				/* x0: address of code that returns; its x0 is given back */
	ic	iallu
	dsb	ish
	isb
	blr	x0
	b	probe_done

	.global probe_smc_immediate
probe_smc_immediate:			/* a call with an immediate that is not zero */
	smc	#1
	b	probe_done

	.global probe_hvc
probe_hvc:
	hvc	#0
	b	probe_done

	.global registers_done
registers_done:
	.global probe_done
probe_done:
	wfi
	b	probe_done
