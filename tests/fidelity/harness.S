/*
 * The harness of the fidelity corpus: runs every case of the table and records what each left behind. Starts at EL3 with
 * the MMU off, on QEMU's virt machine and on our core alike. tests/fidelity/case.py describes a case, record.py a record.
 *
 * A row of the table: setup, body, cleanup, SPSR_EL3, SCR_EL3. The table ends with a zero.
 */
#define RECORDS		0x4b000000
#define DATA		0x4a000000
#define BOUNDARY	0x4a001000
#define SEED_HIGH	0x5eed

#define SEMIHOSTING_OPEN	0x01
#define SEMIHOSTING_WRITE	0x05
#define SEMIHOSTING_EXIT	0x18
#define ADP_STOPPED_APPLICATION_EXIT	0x20026

	.section .text.harness, "ax"
	.global harness_start
harness_start:
	adr	x0, row
	adr	x1, table
	ldr	x1, [x1]
	str	x1, [x0]
	ldr	x1, =RECORDS
	str	x1, [x0, #8]

/* --- one case ---------------------------------------------------------------------------------------------------- */

.macro	set	register, value
	ldr	x0, =\value
	msr	\register, x0
.endm

.macro	clear	registers:vararg
	.irp	register, \registers
	msr	\register, xzr
	.endr
.endm

next_case:
	set	sctlr_el3, 0x30c50838
	set	scr_el3, 0x531
	isb
	set	vbar_el1, el1_vectors
	set	vbar_el2, el2_vectors
	set	vbar_el3, el3_vectors
	set	sctlr_el1, 0x30d50838
	set	sctlr_el2, 0x30c50838
	set	hcr_el2, 0x80000000
	set	cpacr_el1, 0x300000
	set	cptr_el2, 0x33ff
	clear	cptr_el3, mdcr_el3, mdscr_el1, hstr_el2, hacr_el2
	clear	ttbr0_el1, ttbr1_el1, tcr_el1, mair_el1, amair_el1, contextidr_el1
	clear	ttbr0_el2, tcr_el2, mair_el2, amair_el2, vttbr_el2, vtcr_el2
	clear	ttbr0_el3, tcr_el3, mair_el3, amair_el3
	clear	afsr0_el1, afsr1_el1, afsr0_el2, afsr1_el2, afsr0_el3, afsr1_el3
	clear	tpidr_el0, tpidrro_el0, tpidr_el1, tpidr_el2, tpidr_el3
	clear	cntkctl_el1, cntvoff_el2, cntp_ctl_el0, cntv_ctl_el0, cnthp_ctl_el2, cntps_ctl_el1
	clear	cntp_cval_el0, cntv_cval_el0, cnthp_cval_el2, cntps_cval_el1
	.irp	number, 0,1,2,3
	clear	dbgwvr\number\()_el1, dbgwcr\number\()_el1
	.endr
	.irp	number, 0,1,2,3,4,5
	clear	dbgbvr\number\()_el1, dbgbcr\number\()_el1
	.endr
	set	pmcntenclr_el0, 0xffffffff
	set	pmintenclr_el1, 0xffffffff
	set	pmovsclr_el0, 0xffffffff
	.irp	number, 0,1,2,3
	clear	pmevcntr\number\()_el0, pmevtyper\number\()_el0
	.endr
	clear	pmcr_el0, pmselr_el0, pmccfiltr_el0
	clear	pmuserenr_el0, csselr_el1, par_el1, hpfar_el2, fpcr, fpsr
	set	cnthctl_el2, 3
	set	mdcr_el2, 6
	mrs	x0, midr_el1
	msr	vpidr_el2, x0
	mrs	x0, mpidr_el1
	msr	vmpidr_el2, x0
	set	esr_el1, 0x02001e51
	set	esr_el2, 0x02001e52
	set	esr_el3, 0x02001e53
	set	elr_el1, 0x1e1e51
	set	elr_el2, 0x1e1e52
	set	far_el1, 0x1fa51
	set	far_el2, 0x1fa52
	set	far_el3, 0x1fa53
	set	spsr_el1, 0x3c0
	set	spsr_el2, 0x3c0
	set	sp_el0, 0x4a0020a0
	set	sp_el1, 0x4a0020b0
	set	sp_el2, 0x4a0020c0
	ldr	x0, =0x4a0020d0
	mov	sp, x0
	clrex
	/* The data area: a counting pattern. */
	ldr	x0, =DATA
	ldr	x1, =DATA + 0x2000
	ldr	x2, =0x0706050403020100
	ldr	x3, =0x0101010101010101
1:	str	x2, [x0], #8
	add	x2, x2, x3
	cmp	x0, x1
	b.ne	1b
	tlbi	alle1
	tlbi	alle2
	tlbi	alle3
	set	scr_el3, 0x530
	isb
	tlbi	alle1
	dsb	sy
	isb
	mov	x0, #SEED_HIGH
	lsl	x0, x0, #48
	fmov	d0, x0
	mov	v0.d[1], x0
	mov	v1.16b, v0.16b
	adr	x9, row
	ldr	x9, [x9]
	ldr	x0, [x9]
	blr	x0			/* setup, which may trap floating point */
	ldr	x9, row
	ldr	x0, [x9, #32]
	msr	scr_el3, x0
	ldr	x0, [x9, #24]
	msr	spsr_el3, x0
	ldr	x0, [x9, #8]
	msr	elr_el3, x0		/* body */
	mov	x0, #SEED_HIGH
	lsl	x0, x0, #48
	.irp	number, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
	add	x\number, x0, #\number
	.endr
	isb
	eret

/* --- the record --------------------------------------------------------------------------------------------------- */

/* x0 is in TPIDR_EL3 and x1 in the record; x0: the record, x1: the vector. The MMU is off. */
record:
	stp	x2, x3, [x0, #32]
	stp	x4, x5, [x0, #48]
	stp	x6, x7, [x0, #64]
	stp	x8, x9, [x0, #80]
	stp	x10, x11, [x0, #96]
	stp	x12, x13, [x0, #112]
	stp	x14, x15, [x0, #128]
	stp	x16, x17, [x0, #144]
	stp	x18, x19, [x0, #160]
	stp	x20, x21, [x0, #176]
	stp	x22, x23, [x0, #192]
	stp	x24, x25, [x0, #208]
	stp	x26, x27, [x0, #224]
	stp	x28, x29, [x0, #240]
	mrs	x2, nzcv
	mrs	x3, daif
	orr	x2, x2, x3
	mrs	x3, spsel
	orr	x2, x2, x3
	mrs	x3, currentel
	orr	x2, x2, x3
	stp	x1, x2, [x0]
	mrs	x1, tpidr_el3
	str	x1, [x0, #16]
	add	x0, x0, #256
	str	x30, [x0], #8
	.irp	register, sp_el0, sp_el1, sp_el2, esr_el1, esr_el2, esr_el3, elr_el1, elr_el2, elr_el3, spsr_el1, spsr_el2, spsr_el3, far_el1, far_el2, far_el3, hpfar_el2, par_el1
	mrs	x1, \register
	str	x1, [x0], #8
	.endr
	mov	x1, sp
	str	x1, [x0], #8
	msr	cptr_el3, xzr
	isb
	.irp	register, v0, v1
	mov	x1, \register\().d[0]
	mov	x2, \register\().d[1]
	stp	x1, x2, [x0], #16
	.endr
	ldr	x1, =BOUNDARY - 64
	mov	x3, #16
1:	ldr	x2, [x1], #8
	str	x2, [x0], #8
	subs	x3, x3, #1
	b.ne	1b
	adr	x1, row
	str	x0, [x1, #8]
	ldr	x9, [x1]
	ldr	x0, [x9, #16]
	set	scr_el3, 0x531
	isb
	ldr	x0, [x9, #16]
	blr	x0			/* cleanup */
	adr	x1, row
	ldr	x9, [x1]
	add	x9, x9, #40
	str	x9, [x1]
	ldr	x0, [x9]
	cbnz	x0, next_case
	/* All done: say it, and if asked write the records to the console. */
	adr	x1, open_block
	mov	w0, #SEMIHOSTING_OPEN
	hlt	#0xf000
	adr	x1, write_block
	str	x0, [x1]
	ldr	x0, =RECORDS
	str	x0, [x1, #8]
	ldr	x2, row + 8
	sub	x2, x2, x0
	str	x2, [x1, #16]
1:	adr	x1, write_block			/* as often as it takes: the answer is what is left to write */
	mov	w0, #SEMIHOSTING_WRITE
	hlt	#0xf000
	adr	x1, write_block
	ldp	x2, x3, [x1, #8]
	sub	x4, x3, x0
	add	x2, x2, x4
	stp	x2, x0, [x1, #8]
	cbz	x0, 2f
	cbnz	x4, 1b
2:
	adr	x1, exit_block
	mov	w0, #SEMIHOSTING_EXIT
	hlt	#0xf000
1:	wfi
	b	1b

	.ltorg
	.balign	0x1000			/* what is written is not on a page with code */
	.global row
row:	.quad	0			/* the case's row of the table */
	.quad	0			/* where its record goes */
open_block:
	.quad	terminal, 4, 3		/* for writing, in binary */
terminal:
	.asciz	":tt"
	.balign	8
write_block:
	.quad	0, 0, 0
exit_block:
	.quad	ADP_STOPPED_APPLICATION_EXIT, 0
table:	.quad	case_table

/* --- the vectors --------------------------------------------------------------------------------------------------- */

/* EL1's and EL2's only say where the exception arrived, in the immediate. */
.macro	calling_vectors level
	.irp	offset, 0x000,0x080,0x100,0x180,0x200,0x280,0x300,0x380,0x400,0x480,0x500,0x580,0x600,0x680,0x700,0x780
	smc	#(\level << 12 | \offset)
	b	.
	.balign	0x80
	.endr
.endm

	.balign	0x1000
	.global el1_vectors
el1_vectors:
	calling_vectors 1
	.global el2_vectors
el2_vectors:
	calling_vectors 2
	.global el3_vectors
el3_vectors:
	.irp	offset, 0x000,0x080,0x100,0x180,0x200,0x280,0x300,0x380,0x400,0x480,0x500,0x580,0x600,0x680,0x700,0x780
	msr	tpidr_el3, x0
	movz	x0, #0x0838
	movk	x0, #0x30c5, lsl #16
	msr	sctlr_el3, x0
	isb
	ldr	x0, row + 8
	str	x1, [x0, #24]
	mov	x1, #(3 << 12 | \offset)
	b	record
	.balign	0x80
	.endr
/* For cases in which EL1 cannot call EL3: a write that CPTR_EL3.TCPAC traps. */
	.global el1_trapping_vectors
el1_trapping_vectors:
	.rept	16
	msr	cpacr_el1, xzr
	b	.
	.balign	0x80
	.endr
/* EL3 vectors that go on behind the instruction; all general registers stay. */
	.balign	0x1000
	.global skipping_vectors
skipping_vectors:
	.rept	16
	msr	tpidr_el3, x0
	mrs	x0, elr_el3
	add	x0, x0, #4
	msr	elr_el3, x0
	mrs	x0, tpidr_el3
	eret
	.balign	0x80
	.endr

/* The interrupt controller as it comes out of reset, as far as cases use it. Changes x5, x7, x8 and x9. */
	.global reset_controller
reset_controller:
	movz	x8, #0x0803, lsl #16		/* virtual interface */
	.irp	register, 0x000,0x008,0x0f0,0x100,0x104,0x108,0x10c
	str	wzr, [x8, #\register]
	.endr
	movz	x8, #0x0801, lsl #16		/* CPU interface */
	mov	w7, #1
	str	w7, [x8, #0x1c]			/* ABPR */
	.irp	register, 0x00,0x04,0x08,0xd0,0xd4,0xd8,0xdc,0xe0,0xe4,0xe8,0xec
	str	wzr, [x8, #\register]
	.endr
	movz	x8, #0x0800, lsl #16		/* distributor */
	mov	w7, #-1
	.irp	register, 0x180,0x184,0x280,0x284,0x380,0x384,0xf10,0xf14,0xf18,0xf1c
	str	w7, [x8, #\register]		/* not enabled, pending, active */
	.endr
	.irp	register, 0x00,0x80,0x84,0xc04,0xc08,0xc0c
	str	wzr, [x8, #\register]		/* group 0, levels */
	.endr
	add	x9, x8, #0x400			/* priorities */
	mov	x5, #16
1:	str	wzr, [x9], #4
	subs	x5, x5, #1
	b.ne	1b
	ret
