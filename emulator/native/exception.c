/* Exception entry, which the engine leaves to us (Arm ARM D1.10, D1.11): routing, syndrome, banking, vector. */
#include "core.h"

#define PSTATE_DAIF 0x3c0
#define PSTATE_NZCV UINT64_C(0xf0000000)

#define EC_UNKNOWN 0x00
#define EC_ILLEGAL_STATE 0x0e
#define EC_SVC64 0x15
#define EC_HVC64 0x16
#define EC_SMC64 0x17
#define EC_SYSTEM_REGISTER 0x18
#define EC_PC_ALIGNMENT 0x22
#define EC_BRK64 0x3c

#define ISS_IL (UINT64_C(1) << 25)

/* The engine's exception numbers, as QEMU names them. */
#define ENGINE_UNDEFINED 1
#define ENGINE_SVC 2
#define ENGINE_PREFETCH_ABORT 3
#define ENGINE_DATA_ABORT 4
#define ENGINE_BRK 7
#define ENGINE_HVC 11
#define ENGINE_SMC_TRAPPED 12
#define ENGINE_SMC 13

#define HLT_SEMIHOSTING 0xd45e0000 /* HLT #0xF000 */

#define SCR_NS (1 << 0)
#define HCR_TGE (1 << 27)

#define STUCK_LIMIT 1000

uint64_t exception_syndrome(unsigned code, uint64_t iss)
{
	return (uint64_t)code << 26 | ISS_IL | iss;
}

static int banked_sp(unsigned index)
{
	static const int registers[] = {UC_ARM64_REG_SP_EL0, UC_ARM64_REG_SP_EL1, UC_ARM64_REG_SP_EL2,
					UC_ARM64_REG_SP_EL3};

	return registers[index];
}

static const int elr_registers[] = {0, UC_ARM64_REG_ELR_EL1, UC_ARM64_REG_ELR_EL2, UC_ARM64_REG_ELR_EL3};
static const int esr_registers[] = {0, UC_ARM64_REG_ESR_EL1, UC_ARM64_REG_ESR_EL2, UC_ARM64_REG_ESR_EL3};
static const int far_registers[] = {0, UC_ARM64_REG_FAR_EL1, UC_ARM64_REG_FAR_EL2, UC_ARM64_REG_FAR_EL3};

/* Written last: it is the write of a system register that makes the engine look at PSTATE again. */
static void write_spsr(struct machine *machine, unsigned level, uint64_t value)
{
	if (level == 1) {
		set_sysreg(machine, SPSR_EL1, value);
	} else if (level == 2) {
		set_sysreg(machine, SPSR_EL2, value);
	} else {
		set_sysreg(machine, SPSR_EL3, value);
	}
}

/* A vector table whose first instruction faults takes exceptions for ever without executing anything. */
static void watch_progress(struct core *core, const struct exception *exception, unsigned level)
{
	if (core->stuck_at != core->instructions) {
		core->stuck_at = core->instructions;
		core->stuck = 0;
	}
	if (core->stuck++ == 0) {
		core->first_fault = (struct first_fault){
			.pc = exception->return_address, .syndrome = exception->syndrome, .level = level};
	}
}

void core_first_fault(struct machine *machine, struct first_fault *fault)
{
	*fault = machine->core.first_fault;
}

static void write_registers(struct machine *machine, const int *registers, const uint64_t *values, int count)
{
	const void *pointers[8];

	for (int i = 0; i < count; i++) {
		pointers[i] = &values[i];
	}
	uc_reg_write_batch(machine->core.engine, registers, (void *const *)pointers, count);
}

static void report(struct machine *machine, const struct exception *exception, unsigned level)
{
	event(machine, EVENT_EXCEPTION, exception->syndrome, exception->has_far ? exception->far : 0,
	      exception->return_address, level, exception->target, exception->has_ipa ? exception->ipa : 0,
	      exception->vector, core_context(machine));
}

void exception_take(struct machine *machine, const struct exception *exception)
{
	unsigned target = exception->target;
	const int before[] = {UC_ARM64_REG_PSTATE, UC_ARM64_REG_SP, banked_sp(target)};
	uint64_t old[] = {0, 0, 0};
	enum { PSTATE, SP, TARGET_SP };
	unsigned level;
	bool own_sp;

	core_read_registers(machine, before, old, 3);
	level = old[PSTATE] >> 2 & 3;
	own_sp = old[PSTATE] & 1;
	report(machine, exception, level);
	watch_progress(&machine->core, exception, level);
	debug_exception(machine);

	if (exception->has_far) {
		uc_reg_write(machine->core.engine, far_registers[target], &exception->far);
	}
	if (exception->has_ipa && target == 2) {
		set_sysreg(machine, HPFAR_EL2, exception->ipa >> PAGE_SHIFT << 4);
	}
	/* The stack pointer of the old level is banked; then the new level's is in use. The engine banks neither. */
	{
		unsigned old_bank = own_sp ? level : 0;
		const int after[] = {banked_sp(old_bank), UC_ARM64_REG_SP, UC_ARM64_REG_PSTATE, elr_registers[target],
				     esr_registers[target]};
		const uint64_t new[] = {old[SP], old_bank == target ? old[SP] : old[TARGET_SP],
					(old[PSTATE] & PSTATE_NZCV) | PSTATE_DAIF | target << 2 | 1,
					exception->return_address, exception->syndrome};
		bool syndrome = exception->vector == VECTOR_SYNC || exception->vector == VECTOR_SERROR;

		write_registers(machine, after, new, syndrome ? 5 : 4);
	}
	write_spsr(machine, target, (uint32_t)old[PSTATE]);
	core_write_register(machine, REGISTER_PC,
			    core_translation_registers(machine)->vbar[target] + exception->vector + (level < target ? 0x400 : own_sp ? 0x200 : 0));
	if (target == 3 && level < 3) {
		core_entered_el3(machine);
	}
}

bool exception_stuck(const struct machine *machine)
{
	return machine->core.stuck > STUCK_LIMIT;
}

unsigned exception_default_target(struct machine *machine, unsigned level)
{
	if (level > 0) {
		return level;
	}
	return core_translation_registers(machine)->scr_el3 & SCR_NS && core_translation_registers(machine)->hcr_el2 & HCR_TGE ? 2 : 1;
}

static void take_synchronous(struct machine *machine, unsigned target, uint64_t syndrome, uint64_t return_address)
{
	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = target,
		.syndrome = syndrome,
		.return_address = return_address,
	});
}

const uint8_t *core_code_page(struct machine *machine, uint64_t page, unsigned level)
{
	struct fetched *fetched = &machine->core.fetched;
	struct translation translation;
	struct fault fault;

	core_translation_registers(machine); /* a register that was written in the meantime ends the memory */
	if (fetched->host && fetched->page == page && fetched->level == level) {
		return fetched->host;
	}
	if (!translate(machine, page, ACCESS_FETCH, level, &translation, &fault)) {
		return NULL;
	}
	*fetched = (struct fetched){
		.page = page,
		.level = level,
		.physical = translation.address,
		.non_secure = translation.non_secure,
		.host = memory_at(machine, translation.address),
	};
	return fetched->host;
}

bool read_instruction(struct machine *machine, uint64_t address, unsigned level, uint32_t *instruction)
{
	const uint8_t *host = core_code_page(machine, address & PAGE_MASK, level);

	if (!host) {
		return false;
	}
	host += address & ~PAGE_MASK;
	*instruction = (uint32_t)host[0] | (uint32_t)host[1] << 8 | (uint32_t)host[2] << 16 | (uint32_t)host[3] << 24;
	return true;
}

/* SVC, HVC, SMC and BRK carry a 16-bit immediate in bits 20:5. */
static uint64_t immediate(struct machine *machine, uint64_t address, unsigned level)
{
	uint32_t instruction = 0;

	read_instruction(machine, address, level, &instruction);
	return instruction >> 5 & 0xffff;
}

/* The engine would let Secure EL1 call an EL2 that is not there. */
static void take_hvc(struct machine *machine, uint64_t pc, unsigned level)
{
	if (level == 1 && !(core_translation_registers(machine)->scr_el3 & SCR_NS)) {
		take_synchronous(machine, 1, exception_syndrome(EC_UNKNOWN, 0), pc - 4);
	} else {
		take_synchronous(machine, level == 3 ? 3 : 2, exception_syndrome(EC_HVC64, immediate(machine, pc - 4, level)),
				 pc);
	}
}

bool is_wfi(struct machine *machine, uint64_t address)
{
	uint32_t instruction;

	return read_instruction(machine, address, current_level(machine), &instruction) && instruction == 0xd503207f;
}

bool is_parked(struct machine *machine, uint64_t behind)
{
	const uint64_t masked = 3 << 6; /* PSTATE.I and F */
	uint32_t instruction;

	return (core_read_register(machine, REGISTER_PSTATE) & masked) == masked &&
	       read_instruction(machine, behind, current_level(machine), &instruction) && instruction == 0x17ffffff;
}

void exception_pc_alignment(struct machine *machine, uint64_t pc)
{
	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = exception_default_target(machine, current_level(machine)),
		.syndrome = exception_syndrome(EC_PC_ALIGNMENT, 0),
		.return_address = pc,
		.has_far = true,
		.far = pc,
	});
}

/* The engine itself raises data aborts for alignment only: translation is ours. */
static void take_alignment(struct machine *machine, uint64_t pc, unsigned level)
{
	struct fault fault = {.status = FSC_ALIGNMENT};
	struct load_store access = {0};
	uint32_t instruction;

	if (read_instruction(machine, pc, level, &instruction)) {
		load_store_decode(machine, instruction, pc, &access);
	}
	exception_abort(machine, &fault, access.store ? ACCESS_WRITE : ACCESS_READ, access.address);
}

void exception_undefined(struct machine *machine)
{
	take_synchronous(machine, exception_default_target(machine, current_level(machine)), exception_syndrome(EC_UNKNOWN, 0),
			 core_read_register(machine, REGISTER_PC));
}

/* MSR DAIFSet and DAIFClr where SCTLR_EL1.UMA forbids them: the engine gives no syndrome. As of an MSR of op0 0. */
static uint64_t pstate_syndrome(struct machine *machine, uint64_t pc, unsigned level)
{
	uint32_t instruction = 0;

	if (!read_instruction(machine, pc, level, &instruction) || (instruction & 0xfff8f01f) != 0xd500401f) {
		return exception_syndrome(EC_UNKNOWN, 0);
	}
	return exception_syndrome(EC_SYSTEM_REGISTER,
				  (uint64_t)(instruction >> 5 & 7) << 17 | (uint64_t)(instruction >> 16 & 7) << 14 | 4 << 10 |
					  31 << 5 | (uint64_t)(instruction >> 8 & 15) << 1);
}

/*
 * Undefined, or trapped: the engine says which, with the syndrome. Where it means a trap from EL1 or above to the same
 * level the instruction is undefined: there are no such traps.
 */
static void take_refused(struct machine *machine, uint64_t pc, unsigned level)
{
	struct engine_exception refused = engine_exception(&machine->core);

	if (!refused.syndrome) {
		refused.syndrome = pstate_syndrome(machine, pc, level);
	} else if (refused.syndrome >> 26 == EC_SYSTEM_REGISTER && refused.target == level) {
		refused.syndrome = exception_syndrome(EC_UNKNOWN, 0);
	}
	take_synchronous(machine, refused.target, refused.syndrome, pc);
}

/* Of the guest's own, in DBGBVRn_EL1, which the engine keeps. It raises no other prefetch abort: translation is ours. */
static void take_breakpoint(struct machine *machine, uint64_t pc)
{
	struct engine_exception reported = engine_exception(&machine->core);

	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = reported.target,
		.syndrome = reported.syndrome,
		.return_address = pc,
		.has_far = true,
		.far = reported.address,
	});
}

void exception_illegal_state(struct machine *machine)
{
	unsigned target = exception_default_target(machine, current_level(machine));

	take_synchronous(machine, target, exception_syndrome(EC_ILLEGAL_STATE, 0), core_read_register(machine, REGISTER_PC));
	machine->core.doubtful_returns |= 1u << target; /* its SPSR has IL */
}

/* The engine knows no debugger: HLT is undefined to it. EL0 may not call (as on QEMU). */
static bool is_semihosting_call(struct machine *machine, uint64_t pc, unsigned level)
{
	uint32_t instruction;

	return machine->core.semihosting && level > 0 && read_instruction(machine, pc, level, &instruction) &&
	       instruction == HLT_SEMIHOSTING;
}

bool exception_from_engine(struct machine *machine, uint32_t number, uint64_t pc, unsigned level)
{
	/* Whether an instruction is undefined or trapped, by level, SCR_EL3 and HCR_EL2, the engine has decided. */
	switch (number) {
	case ENGINE_SMC:
		core_smc_arrived(machine, level);
		take_synchronous(machine, 3, exception_syndrome(EC_SMC64, immediate(machine, pc - 4, level)), pc);
		return true;
	case ENGINE_SMC_TRAPPED: /* HCR_EL2.TSC */
		take_synchronous(machine, 2, exception_syndrome(EC_SMC64, immediate(machine, pc, level)), pc);
		return true;
	case ENGINE_HVC:
		take_hvc(machine, pc, level);
		return true;
	case ENGINE_SVC:
		take_synchronous(machine, exception_default_target(machine, level), exception_syndrome(EC_SVC64, immediate(machine, pc - 4, level)), pc);
		return true;
	case ENGINE_BRK:
		take_synchronous(machine, exception_default_target(machine, level), exception_syndrome(EC_BRK64, immediate(machine, pc, level)), pc);
		return true;
	case ENGINE_UNDEFINED:
		if (is_semihosting_call(machine, pc, level)) {
			core_semihosting_called(machine, pc);
		} else if (!implementation_register(machine, pc, level)) {
			take_refused(machine, pc, level);
		}
		return true;
	case ENGINE_PREFETCH_ABORT: /* so it calls it */
		take_breakpoint(machine, pc);
		return true;
	case ENGINE_DATA_ABORT:
		take_alignment(machine, pc, level);
		return true;
	default:
		return false;
	}
}
