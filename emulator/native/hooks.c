/* The engine's hooks: what it asks us while it runs. */
#include <stdio.h>

#include "core.h"

#define SCR_NS (1 << 0)
#define HCR_TTLB (1 << 25)

void core_call_attention(struct machine *machine)
{
	machine->core.quiet_until = 0;
}

void core_halt(struct machine *machine)
{
	machine->core.halted = true;
	core_call_attention(machine);
}

bool core_must_stop(struct machine *machine)
{
	return core_interrupted || machine->core.halted || machine->callback_failed || exception_serror_due(machine) ||
	       interrupt_due(machine) || returns_was_illegal(machine) || events_full(machine) || machine->debug.at_event ||
	       machine->debug.accessed;
}

/* The block holds an instruction that the engine does not execute as it should. */
static bool is_caught(struct machine *machine, uint64_t address, bool float_traps)
{
	uint64_t bytes = machine->core.block_bytes;

	return (float_traps && float_trap_in_block(machine, address, bytes)) ||
	       (machine->core.doubtful_returns && returns_to_aarch32(machine, address, bytes));
}

static void look_closer(struct machine *machine, uint64_t address)
{
	struct core *core = &machine->core;
	bool part = core->part_bytes;
	bool float_traps = float_traps_armed(machine);

	if (part) {
		core_uncount_rest_of_block(core, address + core->part_bytes);
		core->part_bytes = 0;
	}
	if (core->instructions > core->limit || address & 3 || core_must_stop(machine) ||
	    (!part && is_caught(machine, address, float_traps))) {
		core_uncount_rest_of_block(core, address);
		core->held = true;
		uc_emu_stop(core->engine); /* the block is not executed */
		return;
	}
	core->quiet_until = core->serror_pending || core->doubtful_returns || interrupt_pending(machine) ? 0 : core->limit;
	core->float_watch = float_traps;
	if (core_interrupted) {
		core_call_attention(machine); /* the signal came in between */
	}
}

/* Runs once a block: whatever is not counting lies behind three comparisons. */
static void on_block(uc_engine *engine, uint64_t address, uint32_t size, void *user)
{
	struct machine *machine = user;
	struct core *core = &machine->core;

	(void)engine;
	core->block_start = address;
	core->block_bytes = size;
	core->instructions += size / 4;
	if (core->in_call) {
		core_watch_return(machine);
	}
	if (core->instructions > core->quiet_until || address & 3 ||
	    (core->float_watch && float_trap_in_block(machine, address, size))) {
		look_closer(machine, address);
	}
}

static void on_interrupt(uc_engine *engine, uint32_t number, void *user)
{
	struct machine *machine = user;
	struct core *core = &machine->core;
	const int registers[] = {UC_ARM64_REG_PC, UC_ARM64_REG_PSTATE};
	uint64_t value[] = {0, 0};

	core_read_registers(machine, registers, value, 2);
	core_uncount_rest_of_block(core, value[0]);
	if (!exception_from_engine(machine, number, value[0], value[1] >> 2 & 3)) {
		snprintf(machine->error, sizeof machine->error, "the engine raised exception %u, which no guest can cause",
			 number);
		core->lost = true;
	}
	if (exception_stuck(machine) || core->lost) {
		core->lost = true;
		uc_emu_stop(engine);
	}
}

static enum access access_of(uc_mem_type type)
{
	return type == UC_MEM_FETCH ? ACCESS_FETCH : type == UC_MEM_WRITE ? ACCESS_WRITE : ACCESS_READ;
}

static bool refuse(struct machine *machine, uint64_t page, enum access access, const struct fault *fault)
{
	machine->core.refusal = (struct refusal){.pending = true, .page = page, .access = access, .fault = *fault};
	return false;
}

/* LDTR and STTR at EL1 look up with EL0's rights. */
static unsigned access_level(struct machine *machine, enum access access)
{
	unsigned level = current_level(machine);
	uint32_t instruction;

	if (level == 1 && access != ACCESS_FETCH &&
	    read_instruction(machine, core_read_register(machine, REGISTER_PC), level, &instruction) &&
	    load_store_is_unprivileged(instruction)) {
		return 0;
	}
	return level;
}

/* A page that may be written may usually be read, but stage 2 and the TZASC can forbid it. */
static bool may_read(struct machine *machine, uint64_t address, unsigned level, struct master master)
{
	struct translation translation;
	struct fault fault;

	return translate(machine, address, ACCESS_READ, level, &translation, &fault) &&
	       bus_permits(machine, translation.address, master, false);
}

/*
 * A page enters the engine's TLB. Devices never do, nor what a filter denies: such an access comes back every time.
 * Never writable and executable at once: the engine would send every store of such a page through its slow path, and
 * we would not see code that is overwritten.
 */
static bool on_fill(uc_engine *engine, uint64_t address, uc_mem_type type, uc_tlb_entry *result, void *user)
{
	struct machine *machine = user;
	enum access access = access_of(type);
	unsigned level;
	struct translation translation;
	struct fault fault;
	struct master master = {.nsaid = NSAID_CPU};
	struct memory *memory;

	(void)engine;
	address &= PAGE_MASK;
	if (machine->core.forgetting) {
		*result = (uc_tlb_entry){.paddr = address, .perms = UC_PROT_READ | UC_PROT_EXEC};
		return true;
	}
	level = access_level(machine, access);
	if (!translate(machine, address, access, level, &translation, &fault)) {
		return refuse(machine, address, access, &fault);
	}
	master.secure = !translation.non_secure;
	master.privileged = level > 0;
	if (!bus_permits(machine, translation.address, master, access == ACCESS_WRITE)) {
		return refuse(machine, address, access, &fault);
	}
	if (access != ACCESS_FETCH && debug_watches(machine, address, translation.address)) {
		machine->debug.refused = true;
		return refuse(machine, address, access, &fault);
	}
	memory = memory_of(machine, translation.address);
	result->paddr = translation.address & PAGE_MASK;
	if (access == ACCESS_FETCH) {
		core_mark_code(machine, memory, translation.address);
		result->perms = UC_PROT_EXEC;
		return true;
	}
	result->perms = UC_PROT_READ;
	if (access == ACCESS_WRITE) {
		memory_written(machine, translation.address, 0);
		if (level == 3 && memory == &machine->dram) {
			core_note_scrubbing(machine, translation.address);
		}
		result->perms = UC_PROT_WRITE | (may_read(machine, address, level, master) ? UC_PROT_READ : 0);
	}
	return true;
}

/* Guest time at the instruction that is being executed. */
static uint64_t time_now(struct machine *machine)
{
	return core_time_at(machine, core_read_register(machine, REGISTER_PC));
}

#define PERIPHERAL_BASE UINT64_C(0x08000000)

static bool is_time(const uc_arm64_cp_reg *reg)
{
	return reg->crn == 14 || reg->crn == 9;
}

/* PMEVCNTR4_EL0 and the like: the engine cannot go on behind an access to a register that it does not know. */
static bool is_lacking(const uc_arm64_cp_reg *reg)
{
	return reg->op1 == 3 && reg->crn == 14 && (reg->crm == 8 || reg->crm == 12) && reg->op2 >= 4;
}

static bool is_isr(const uc_arm64_cp_reg *reg)
{
	return reg->op0 == 3 && reg->op1 == 0 && reg->crn == 12 && reg->crm == 1 && reg->op2 == 0;
}

/* CBAR_EL1 says where the interrupt controller is; the engine's reads as zero (DDI 0488, 4.3.65). */
static bool is_cbar(const uc_arm64_cp_reg *reg)
{
	return reg->op0 == 3 && reg->op1 == 1 && reg->crn == 15 && reg->crm == 3 && reg->op2 == 0;
}

static uint32_t on_mrs(uc_engine *engine, uc_arm64_reg target, const uc_arm64_cp_reg *reg, void *user)
{
	struct machine *machine = user;
	uint64_t value;

	if (is_isr(reg) && current_level(machine) > 0) {
		value = interrupt_status(machine);
	} else if (core_is_hcr(reg) && machine->core.hcr_virtual && current_level(machine) >= 2) {
		value = sysreg(machine, HCR_EL2);
	} else if (is_cbar(reg) && current_level(machine) > 0) {
		value = PERIPHERAL_BASE;
	} else if (!is_time(reg) || is_lacking(reg) ||
		   !(time_read(machine, reg, time_now(machine), &value) || pmu_read(machine, reg, &value))) {
		return 0;
	}
	uc_reg_write(engine, (int)target, &value);
	return 1;
}

/* False: the engine may write it. */
static bool write_hcr(struct machine *machine, uint64_t value)
{
	if (current_level(machine) < 2 || !(machine->core.hcr_virtual | (value & HCR_VIRTUAL))) {
		return false;
	}
	set_sysreg(machine, HCR_EL2, value);
	return true;
}

static uint32_t on_msr(uc_engine *engine, uc_arm64_reg source, const uc_arm64_cp_reg *reg, void *user)
{
	struct machine *machine = user;
	uint64_t value = 0;

	core_note_write(&machine->core, reg);
	if (float_traps_depend_on(reg)) {
		float_traps_on_write(machine);
		return 0;
	}
	if (returns_depend_on(reg)) {
		if (!returns_permitted(machine, reg)) {
			return 0; /* undefined */
		}
		uc_reg_read(engine, (int)source, &value);
		returns_on_write(machine, reg, value);
		return core_is_hcr(reg) && write_hcr(machine, value);
	}
	if (!is_time(reg) || is_lacking(reg)) {
		return 0;
	}
	uc_reg_read(engine, (int)source, &value);
	return time_write(machine, reg, time_now(machine), value) || pmu_write(machine, reg, value);
}

/* HCR_EL2.TTLB, and translation for an EL2 that Secure state has not: the engine takes the exception. */
static bool is_refused(struct machine *machine, const uc_arm64_cp_reg *reg, unsigned level)
{
	const struct translation_registers *registers = core_translation_registers(machine);
	bool normal = registers->scr_el3 & SCR_NS;

	if (reg->crn == 8) {
		return level == 1 && normal && registers->hcr_el2 & HCR_TTLB;
	}
	return level == 3 && !normal && reg->op1 == 4 && reg->op2 < 2;
}

/* AT and TLBI of Armv8.0 (Arm ARM C5.4, C5.5), by op1, CRn and CRm: a bit for each op2. The rest is undefined. */
static const struct {
	uint8_t op1, crn, crm, op2;
} translation_instructions[] = {
	{0, 7, 8, 0x0f}, {4, 7, 8, 0xf3}, {6, 7, 8, 0x03},
	{0, 8, 3, 0xaf}, {4, 8, 3, 0x73}, {6, 8, 3, 0x23},
	{0, 8, 7, 0xaf}, {4, 8, 7, 0x73}, {6, 8, 7, 0x23},
	{4, 8, 0, 0x22}, {4, 8, 4, 0x22},
};

static bool is_translation_instruction(const uc_arm64_cp_reg *reg)
{
	for (size_t i = 0; i < sizeof translation_instructions / sizeof translation_instructions[0]; i++) {
		if (translation_instructions[i].op1 == reg->op1 && translation_instructions[i].crn == reg->crn &&
		    translation_instructions[i].crm == reg->crm) {
			return translation_instructions[i].op2 >> reg->op2 & 1;
		}
	}
	return false;
}

/* TLBI and AT act on our translation, not the engine's. Below the level that an instruction needs it stays undefined. */
static uint32_t on_system(uc_engine *engine, uc_arm64_reg operand, const uc_arm64_cp_reg *reg, void *user)
{
	struct machine *machine = user;
	unsigned level = current_level(machine);
	unsigned needed = reg->op1 == 6 ? 3 : reg->op1 == 4 ? 2 : 1;
	uint64_t value = 0;

	if (reg->op0 != 1 || !is_translation_instruction(reg) || level < needed || is_refused(machine, reg, level)) {
		return 0;
	}
	uc_reg_read(engine, (int)operand, &value);
	if (reg->crn == 8) {
		tlb_maintain(machine, reg->op1, reg->crm, reg->op2, value);
	} else if (!address_translate(machine, reg->op1, reg->op2, value, &machine->core.trap)) {
		machine->core.trap_address = value;
		uc_emu_stop(engine); /* stops behind the instruction */
	} else {
		machine->core.trap.status = FSC_NONE;
	}
	return 1;
}

bool core_add_hooks(struct machine *machine)
{
	uc_engine *engine = machine->core.engine;
	static uc_hook unused;

	return uc_hook_add(engine, &unused, UC_HOOK_BLOCK, (void *)on_block, machine, 1, 0) == UC_ERR_OK &&
	       uc_hook_add(engine, &unused, UC_HOOK_INTR, (void *)on_interrupt, machine, 1, 0) == UC_ERR_OK &&
	       uc_hook_add(engine, &unused, UC_HOOK_TLB_FILL, (void *)on_fill, machine, 1, 0) == UC_ERR_OK &&
	       uc_hook_add(engine, &unused, UC_HOOK_INSN, (void *)on_mrs, machine, 1, 0, UC_ARM64_INS_MRS) == UC_ERR_OK &&
	       uc_hook_add(engine, &unused, UC_HOOK_INSN, (void *)on_msr, machine, 1, 0, UC_ARM64_INS_MSR) == UC_ERR_OK &&
	       uc_hook_add(engine, &unused, UC_HOOK_INSN, (void *)on_system, machine, 1, 0, UC_ARM64_INS_SYS) ==
		       UC_ERR_OK;
}
