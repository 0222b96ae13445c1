/* The core: the engine's hooks, the run loop between them, and exact guest time. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

/* The engine wants an address to stop at and looks it up through the fill hook: no table can map this one. */
#define NOWHERE UINT64_C(0x00f0dead00000000)

#define COUNTER_CRN 14

static volatile sig_atomic_t interrupted;
static struct sigaction previous_interrupt;

/* --- registers ---------------------------------------------------------------------------------------------------- */

static int engine_register(unsigned index)
{
	if (index < 29) {
		return UC_ARM64_REG_X0 + (int)index;
	}
	switch (index) {
	case 29:
		return UC_ARM64_REG_X29;
	case 30:
		return UC_ARM64_REG_X30;
	case REGISTER_SP:
		return UC_ARM64_REG_SP;
	case REGISTER_PC:
		return UC_ARM64_REG_PC;
	default:
		return UC_ARM64_REG_PSTATE;
	}
}

uint64_t core_read_register(struct machine *machine, unsigned index)
{
	uint64_t value = 0;

	uc_reg_read(machine->core.engine, engine_register(index), &value);
	return index == REGISTER_PSTATE ? (uint32_t)value : value;
}

void core_write_register(struct machine *machine, unsigned index, uint64_t value)
{
	uc_reg_write(machine->core.engine, engine_register(index), &value);
}

void core_read_vector(struct machine *machine, unsigned index, uint64_t *low, uint64_t *high)
{
	uint64_t value[2] = {0};

	uc_reg_read(machine->core.engine, UC_ARM64_REG_Q0 + (int)index, value);
	*low = value[0];
	*high = value[1];
}

void core_write_vector(struct machine *machine, unsigned index, uint64_t low, uint64_t high)
{
	uint64_t value[2] = {low, high};

	uc_reg_write(machine->core.engine, UC_ARM64_REG_Q0 + (int)index, value);
}

uint64_t core_read_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2)
{
	uc_arm64_cp_reg reg = {.crn = crn, .crm = crm, .op0 = op0, .op1 = op1, .op2 = op2};

	uc_reg_read(machine->core.engine, UC_ARM64_REG_CP_REG, &reg);
	return reg.val;
}

/* SCTLR, SCR, HCR: CRn 1. TTBR, TCR, VTTBR, VTCR: CRn 2. MAIR: CRn 10. */
static void note_write(struct core *core, unsigned op0, unsigned crn)
{
	if (op0 == 3 && (crn == 1 || crn == 2 || crn == 10)) {
		core->registers.valid = false;
	}
}

void core_write_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
		       uint64_t value)
{
	uc_arm64_cp_reg reg = {.crn = crn, .crm = crm, .op0 = op0, .op1 = op1, .op2 = op2, .val = value};

	note_write(&machine->core, op0, crn);
	uc_reg_write(machine->core.engine, UC_ARM64_REG_CP_REG, &reg);
}

const struct translation_registers *core_translation_registers(struct machine *machine)
{
	struct translation_registers *registers = &machine->core.registers;

	if (!registers->valid) {
		*registers = (struct translation_registers){
			.valid = true,
			.scr_el3 = sysreg(machine, SCR_EL3),
			.hcr_el2 = sysreg(machine, HCR_EL2),
			.vtcr_el2 = sysreg(machine, VTCR_EL2),
			.vttbr_el2 = sysreg(machine, VTTBR_EL2),
			.sctlr_el1 = sysreg(machine, SCTLR_EL1),
			.tcr_el1 = sysreg(machine, TCR_EL1),
			.ttbr0_el1 = sysreg(machine, TTBR0_EL1),
			.ttbr1_el1 = sysreg(machine, TTBR1_EL1),
			.mair_el1 = sysreg(machine, MAIR_EL1),
			.sctlr_el2 = sysreg(machine, SCTLR_EL2),
			.tcr_el2 = sysreg(machine, TCR_EL2),
			.ttbr0_el2 = sysreg(machine, TTBR0_EL2),
			.mair_el2 = sysreg(machine, MAIR_EL2),
			.sctlr_el3 = sysreg(machine, SCTLR_EL3),
			.tcr_el3 = sysreg(machine, TCR_EL3),
			.ttbr0_el3 = sysreg(machine, TTBR0_EL3),
			.mair_el3 = sysreg(machine, MAIR_EL3),
		};
	}
	return registers;
}

void core_reset(struct machine *machine, uint64_t entry)
{
	uint32_t pstate = 0x3cd; /* EL3h, DAIF masked */

	uc_reg_write(machine->core.engine, UC_ARM64_REG_PSTATE, &pstate);
	/* The engine resets SCR_EL3.RW and HCR_EL2.RW to AArch32; this board's cores are AArch64 at every level. */
	set_sysreg(machine, HCR_EL2, UINT64_C(1) << 31);
	set_sysreg(machine, SCR_EL3, 1 << 10 | 0x30);
	core_write_register(machine, REGISTER_PC, entry);
	machine->core.halted = false;
}

/* --- time ------------------------------------------------------------------------------------------------------------- */

uint64_t core_instructions(struct machine *machine)
{
	return machine->core.instructions;
}

void core_advance(struct machine *machine, uint64_t instruction)
{
	if (instruction > machine->core.instructions) {
		machine->core.instructions = instruction;
	}
}

uint64_t core_next_event(struct machine *machine)
{
	return dma_next_due(machine);
}

/* The block was left early: only what lies before the program counter was executed. */
static void uncount_rest_of_block(struct core *core, uint64_t pc)
{
	uint64_t done = pc - core->block_start;

	if (done < core->block_bytes) {
		core->instructions -= (core->block_bytes - done) / 4;
		core->block_bytes = done;
	}
}

uint64_t core_longest_call(struct machine *machine)
{
	uint64_t longest = machine->core.longest_call;

	machine->core.longest_call = 0;
	return longest;
}

/* --- the engine's TLB and translated code -------------------------------------------------------------------------------- */

void core_flush(struct machine *machine)
{
	if (machine->core.engine) {
		uc_ctl_flush_tlb(machine->core.engine);
	}
}

/* The engine finds code to forget by virtual address: for this look-up the fill hook maps every page to itself. */
void core_forget_code(struct machine *machine, uint64_t address)
{
	machine->core.forgetting = true;
	uc_ctl_flush_tlb(machine->core.engine);
	uc_ctl_remove_cache(machine->core.engine, address, address + PAGE_SIZE);
	machine->core.forgetting = false;
	uc_ctl_flush_tlb(machine->core.engine);
}

/* By virtual address, as the engine has it now. */
static void forget_virtual(struct machine *machine, uint64_t start, uint64_t end)
{
	uc_ctl_remove_cache(machine->core.engine, start & PAGE_MASK, (start & PAGE_MASK) + PAGE_SIZE);
	if ((end - 1) >> PAGE_SHIFT != start >> PAGE_SHIFT) {
		uc_ctl_remove_cache(machine->core.engine, (end - 1) & PAGE_MASK, ((end - 1) & PAGE_MASK) + PAGE_SIZE);
	}
}

static void mark_code(struct machine *machine, struct memory *memory, uint64_t physical)
{
	uint64_t page = (physical - memory->base) >> PAGE_SHIFT;

	if (!(memory->code[page / 64] >> page % 64 & 1)) {
		memory->code[page / 64] |= UINT64_C(1) << page % 64;
		core_flush(machine); /* no stale writable entry of the page may stay: its stores would go unseen */
	}
}

/* Pages that EL3 scrubbed go back to the host: an untouched page of a sparse memory reads as zeros. */
static void release_scrubbed(struct machine *machine)
{
	struct core *core = &machine->core;

	for (unsigned i = 0; i < core->scrubbed_count; i++) {
		uint8_t *host = memory_at(machine, core->scrubbed[i]);

		if (memory_is_zero(host, PAGE_SIZE)) {
			madvise(host, PAGE_SIZE, MADV_DONTNEED);
		}
	}
	core->scrubbed_count = 0;
}

static void note_scrubbing(struct machine *machine, uint64_t physical)
{
	struct core *core = &machine->core;

	if (core->scrubbed_count == SCRUB_LIST) {
		release_scrubbed(machine);
	}
	core->scrubbed[core->scrubbed_count++] = physical & PAGE_MASK;
}

/* --- calls to EL3, as the trace sees them --------------------------------------------------------------------------------- */

void core_smc_arrived(struct machine *machine, unsigned level)
{
	struct core *core = &machine->core;

	event(machine, EVENT_SMC, core_read_register(machine, 0), core_read_register(machine, 1),
	      core_read_register(machine, 2), core_read_register(machine, 3), core_read_register(machine, 4),
	      core_read_register(machine, 5), level, core_translation_registers(machine)->scr_el3 & 1);
	core->in_call = core->watch_calls;
	core->call_start = core->instructions;
	core->attention = core->attention || core->in_call;
}

void core_entered_el3(struct machine *machine)
{
	if (machine->core.scrubbed_count) {
		release_scrubbed(machine);
	}
}

static void watch_return(struct machine *machine)
{
	struct core *core = &machine->core;
	uint64_t length = core->instructions - core->block_bytes / 4 - core->call_start;
	unsigned level = current_level(machine);

	if (level == 3) {
		return;
	}
	core->in_call = false;
	core->longest_call = length > core->longest_call ? length : core->longest_call;
	event(machine, EVENT_SMC_RETURN, core_read_register(machine, 0), core_read_register(machine, 1),
	      core_read_register(machine, 2), core_read_register(machine, 3), core_read_register(machine, 4),
	      core_read_register(machine, 5), level, core_translation_registers(machine)->scr_el3 & 1);
}

void core_watch_calls(struct machine *machine, bool watch)
{
	machine->core.watch_calls = watch;
	machine->core.in_call = machine->core.in_call && watch;
}

/* --- hooks -------------------------------------------------------------------------------------------------------------------- */

void core_call_attention(struct machine *machine)
{
	machine->core.attention = true;
}

void core_halt(struct machine *machine)
{
	machine->core.halted = true;
	machine->core.attention = true;
}

static bool must_stop(const struct machine *machine)
{
	return interrupted || machine->core.halted || machine->callback_failed || machine->core.serror_pending ||
	       events_full(machine);
}

static void on_block(uc_engine *engine, uint64_t address, uint32_t size, void *user)
{
	struct machine *machine = user;
	struct core *core = &machine->core;

	core->block_start = address;
	core->block_bytes = size;
	core->instructions += size / 4;
	if (core->instructions > core->limit || interrupted) {
		core->limit_reached = true;
		core->attention = true;
	}
	if (!core->attention) {
		return;
	}
	if (core->in_call) {
		watch_return(machine);
	}
	if (core->limit_reached || must_stop(machine)) {
		uncount_rest_of_block(core, address);
		uc_emu_stop(engine); /* the block is not executed */
	} else {
		core->attention = core->in_call;
	}
}

static void on_interrupt(uc_engine *engine, uint32_t number, void *user)
{
	struct machine *machine = user;
	struct core *core = &machine->core;
	uint64_t pc = core_read_register(machine, REGISTER_PC);

	uncount_rest_of_block(core, pc);
	if (!exception_from_engine(machine, number, pc)) {
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
	    read_instruction(machine, core_read_register(machine, REGISTER_PC), &instruction) &&
	    load_store_is_unprivileged(instruction)) {
		return 0;
	}
	return level;
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
	if (machine->core.forgetting || address == ((NOWHERE - 1) & PAGE_MASK) || address == NOWHERE) {
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
	memory = translation.address >= machine->dram.base ? &machine->dram : &machine->sram;
	result->paddr = translation.address & PAGE_MASK;
	if (access == ACCESS_FETCH) {
		mark_code(machine, memory, translation.address);
		result->perms = UC_PROT_EXEC;
		return true;
	}
	if (access == ACCESS_WRITE) {
		memory_written(machine, translation.address);
		if (level == 3 && memory == &machine->dram) {
			note_scrubbing(machine, translation.address);
		}
	}
	result->perms = access == ACCESS_WRITE ? UC_PROT_READ | UC_PROT_WRITE : UC_PROT_READ;
	return true;
}

/* CNTPCT_EL0 and CNTVCT_EL0 count instructions; CNTVOFF_EL2 is not used. */
static uint32_t on_mrs(uc_engine *engine, uc_arm64_reg target, const uc_arm64_cp_reg *reg, void *user)
{
	struct machine *machine = user;
	struct core *core = &machine->core;
	uint64_t rest, now;

	if (reg->op0 != 3 || reg->op1 != 3 || reg->crn != COUNTER_CRN || reg->crm != 0 || reg->op2 == 0) {
		return 0;
	}
	rest = core->block_bytes - (core_read_register(machine, REGISTER_PC) - core->block_start);
	now = core->instructions - rest / 4;
	uc_reg_write(engine, (int)target, &now);
	return 1;
}

static uint32_t on_msr(uc_engine *engine, uc_arm64_reg source, const uc_arm64_cp_reg *reg, void *user)
{
	struct machine *machine = user;

	(void)engine;
	(void)source;
	note_write(&machine->core, reg->op0, reg->crn);
	return 0;
}

/* TLBI and AT act on our translation, not the engine's. Below the level that an instruction needs it stays undefined. */
static uint32_t on_system(uc_engine *engine, uc_arm64_reg operand, const uc_arm64_cp_reg *reg, void *user)
{
	struct machine *machine = user;
	unsigned level = current_level(machine);
	unsigned needed = reg->op1 == 6 ? 3 : reg->op1 == 4 ? 2 : 1;
	uint64_t value = 0;

	if (reg->op0 != 1 || level < needed || reg->op1 == 3) {
		return 0;
	}
	uc_reg_read(engine, (int)operand, &value);
	if (reg->crn == 8) {
		tlb_maintain(machine, reg->op1, reg->crm, reg->op2, value);
		return 1;
	}
	if (reg->crn == 7 && reg->crm == 8) {
		if (!address_translate(machine, reg->op1, reg->op2, value, &machine->core.trap)) {
			machine->core.trap_address = value;
			uc_emu_stop(engine); /* stops behind the instruction */
		} else {
			machine->core.trap.status = FSC_NONE;
		}
		return 1;
	}
	return 0;
}

static bool add_hooks(struct machine *machine)
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

bool core_init(struct machine *machine)
{
	struct core *core = &machine->core;

	core->trap.status = FSC_NONE;
	if (uc_open(UC_ARCH_ARM64, UC_MODE_ARM, &core->engine) != UC_ERR_OK) {
		return false;
	}
	return uc_ctl_set_cpu_model(core->engine, UC_CPU_ARM64_A72) == UC_ERR_OK &&
	       uc_ctl_set_page_size(core->engine, PAGE_SIZE) == UC_ERR_OK &&
	       uc_ctl_tlb_mode(core->engine, UC_TLB_VIRTUAL) == UC_ERR_OK &&
	       uc_mem_map_ptr(core->engine, machine->sram.base, machine->sram.bytes, UC_PROT_ALL, machine->sram.host) ==
		       UC_ERR_OK &&
	       uc_mem_map_ptr(core->engine, machine->dram.base, machine->dram.bytes, UC_PROT_ALL, machine->dram.host) ==
		       UC_ERR_OK &&
	       add_hooks(machine);
}

/* --- the run loop --------------------------------------------------------------------------------------------------------------- */

/* Where a load or store that touches the refused page meets it: at its address, or where it enters the page. */
static uint64_t fault_address(const struct load_store *access, uint64_t page)
{
	return access->address > page ? access->address : page;
}

/* An access that the engine cannot perform and we do not: the bus is asked for its verdict, exactly where it happens. */
static void take_bus_error(struct machine *machine, enum access access, uint64_t address)
{
	struct fault fault = {.status = FSC_EXTERNAL};
	struct translation translation;
	struct target target;
	struct fault unused;

	if (translate(machine, address, access, current_level(machine), &translation, &unused)) {
		struct master master = {.secure = !translation.non_secure, .privileged = current_level(machine) > 0};
		enum bus_result result = bus_check(machine, translation.address, master, access == ACCESS_WRITE, &target);

		if (result == BUS_IGNORED && access == ACCESS_FETCH) {
			exception_undefined(machine); /* zeros were fetched, and zeros are UDF */
			return;
		}
	}
	exception_abort(machine, &fault, access, address);
}

static void resolve_refusal(struct machine *machine)
{
	struct refusal refusal = machine->core.refusal;
	uint64_t pc = core_read_register(machine, REGISTER_PC);
	struct load_store access;
	uint32_t instruction;
	uint64_t address = refusal.access == ACCESS_FETCH ? pc : refusal.page;
	bool decoded = refusal.access != ACCESS_FETCH && read_instruction(machine, pc, &instruction) &&
		       load_store_decode(machine, instruction, pc, &access);

	if (decoded) {
		address = fault_address(&access, refusal.page);
	}
	if (refusal.fault.status != FSC_NONE) {
		exception_abort(machine, &refusal.fault, refusal.access, address);
	} else if (decoded && access.elements > 0) {
		load_store_perform(machine, &access, pc);
	} else {
		take_bus_error(machine, refusal.access, address);
	}
}

static void resolve_trap(struct machine *machine)
{
	struct core *core = &machine->core;
	struct fault fault = core->trap;

	core->trap.status = FSC_NONE;
	core_write_register(machine, REGISTER_PC, core_read_register(machine, REGISTER_PC) - 4);
	exception_abort_cache(machine, &fault, core->trap_address);
}

static bool is_wfi(struct machine *machine, uint64_t pc)
{
	uint32_t instruction;

	return read_instruction(machine, pc, &instruction) && instruction == 0xd503207f;
}

static uc_err enter(struct machine *machine, uint64_t until)
{
	struct core *core = &machine->core;

	core->limit_reached = false;
	core->attention = true; /* the block hook finds out whether anything asks for it */
	core->block_bytes = 0;
	core->refusal.pending = false;
	return uc_emu_start(core->engine, core_read_register(machine, REGISTER_PC), until, 0, 0);
}

/*
 * The next block would pass the limit: its first instructions are translated as a block of their own. The engine keeps
 * what it translated with another end in mind, so the page's code is dropped before and after.
 */
static uc_err enter_part_of_block(struct machine *machine, uint64_t instructions)
{
	uint64_t start = core_read_register(machine, REGISTER_PC);
	uint64_t until = start + instructions * 4;
	uc_err error;

	forget_virtual(machine, start, until);
	error = enter(machine, until);
	forget_virtual(machine, start, until);
	return error;
}

/* Up to the limit, to the exact instruction. */
static uc_err run_engine(struct machine *machine)
{
	struct core *core = &machine->core;
	uc_err error = enter(machine, NOWHERE);

	if (error == UC_ERR_OK && core->limit_reached && !must_stop(machine) && core->instructions < core->limit) {
		error = enter_part_of_block(machine, core->limit - core->instructions);
	}
	return error;
}

static enum stop_reason after_engine(struct machine *machine, uc_err error, bool *stop)
{
	struct core *core = &machine->core;
	uint64_t pc = core_read_register(machine, REGISTER_PC);

	*stop = true;
	if (core->lost) {
		return STOP_LOST;
	}
	if (error == UC_ERR_EXCEPTION && core->refusal.pending) {
		uncount_rest_of_block(core, pc);
		resolve_refusal(machine);
	} else if (core->trap.status != FSC_NONE) {
		uncount_rest_of_block(core, pc);
		resolve_trap(machine);
	} else if (error != UC_ERR_OK) {
		snprintf(machine->error, sizeof machine->error, "the engine stopped at %#llx: %s", (unsigned long long)pc,
			 uc_strerror(error));
		return STOP_LOST;
	} else if (!core->limit_reached && !must_stop(machine) && core->instructions < core->limit && is_wfi(machine, pc - 4)) {
		return STOP_WFI;
	}
	*stop = exception_stuck(machine);
	return STOP_LOST;
}

static void on_sigint(int number)
{
	interrupted = 1;
	if (previous_interrupt.sa_handler != SIG_IGN && previous_interrupt.sa_handler != SIG_DFL) {
		previous_interrupt.sa_handler(number);
	}
}

static enum stop_reason run(struct machine *machine, uint64_t limit)
{
	struct core *core = &machine->core;

	for (;;) {
		uint64_t due = dma_next_due(machine);
		enum stop_reason reason;
		bool stop;

		if (machine->callback_failed) {
			machine->callback_failed = false;
			return STOP_CALLBACK;
		}
		if (core->halted) {
			return STOP_HALTED;
		}
		if (interrupted) {
			return STOP_INTERRUPTED;
		}
		if (events_full(machine)) {
			return STOP_EVENTS;
		}
		if (due <= core->instructions) {
			dma_advance(machine);
			continue;
		}
		if (core->instructions >= limit) {
			return STOP_BUDGET;
		}
		if (core->serror_pending) {
			exception_serror(machine);
		}
		core->limit = due < limit ? due : limit;
		reason = after_engine(machine, run_engine(machine), &stop);
		if (stop) {
			return reason;
		}
	}
}

enum stop_reason core_run(struct machine *machine, uint64_t instruction_limit)
{
	struct sigaction action = {.sa_handler = on_sigint};
	enum stop_reason reason;

	interrupted = 0;
	machine->core.lost = false;
	machine->core.stuck = 0;
	sigaction(SIGINT, &action, &previous_interrupt);
	reason = run(machine, instruction_limit);
	sigaction(SIGINT, &previous_interrupt, NULL);
	return reason;
}
