/* The core's parts among themselves: registers.c, code.c, code_hook.c, calls.c, time.c, hooks.c and run.c. */
#ifndef CORE_H
#define CORE_H

#include <signal.h>

#include "machine.h"

#define ERET 0xd69f03e0 /* the instruction */

extern volatile sig_atomic_t core_interrupted; /* SIGINT arrived since core_run began */

/* HCR_EL2, whose VF, VI and VSE are kept apart: the engine would act on them. */
#define HCR_VIRTUAL (7 << 6)
bool core_is_hcr(const uc_arm64_cp_reg *reg);
/* SCTLR, SCR, HCR: CRn 1. TTBR, TCR, VTTBR, VTCR: CRn 2. MAIR: CRn 10. VBAR: CRn 12. */
void core_note_write(struct core *core, const uc_arm64_cp_reg *reg);
/* Guest time at an instruction of the block that is being executed. */
uint64_t core_time_at(const struct machine *machine, uint64_t pc);
/* The block was left early: only what lies before the program counter was executed. */
void core_uncount_rest_of_block(struct core *core, uint64_t pc);
void core_forget_all_code(struct machine *machine);
/* The engine holds code of this page from now on. */
void core_mark_code(struct machine *machine, struct memory *memory, uint64_t physical);
/* EL3 begins to write this page. */
void core_note_scrubbing(struct machine *machine, uint64_t physical);
void core_release_scrubbed(struct machine *machine);
/* At a block after an SMC arrived at EL3: has it returned? */
void core_watch_return(struct machine *machine);
/* The call to EL3 has ended: has the watched table changed? */
void core_compare_table(struct machine *machine);
/* Something outside the guest asks the core to stop. */
bool core_must_stop(struct machine *machine);
/* The exception that the engine reports by number, as its CPU state describes it. */
struct engine_exception {
	uint64_t syndrome;
	uint64_t address; /* of an abort */
	unsigned target;  /* exception level */
};

bool engine_exception_init(struct core *core); /* false: this engine keeps it where we do not find it */
struct engine_exception engine_exception(struct core *core);
/* SPSR_ELx, SCR_EL3 and HCR_EL2 decide whether an ERET is legal: told before each write of one. */
bool returns_depend_on(const uc_arm64_cp_reg *reg);
bool returns_permitted(struct machine *machine, const uc_arm64_cp_reg *reg); /* an MSR of it, here */
void returns_on_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t value);
bool returns_was_illegal(struct machine *machine); /* PSTATE.IL is set */
/* A block that is about to be executed: notes an ERET to AArch32 at its end, which is illegal too. */
bool returns_to_aarch32(struct machine *machine, uint64_t start, uint64_t bytes);
bool returns_caught(struct machine *machine); /* such a one is due */
void returns_refuse(struct machine *machine);
/* CPACR_EL1, CPTR_EL2 and CPTR_EL3 trap floating point: told before each write of one. */
bool float_traps_depend_on(const uc_arm64_cp_reg *reg);
void float_traps_on_write(struct machine *machine);
bool float_traps_armed(struct machine *machine);
/* A block that is about to be executed: notes its first instruction that a trap of floating point catches. */
bool float_trap_in_block(struct machine *machine, uint64_t start, uint64_t bytes);
/* Code, its translation or what decides about traps has changed, or the level has, unseen. */
void float_traps_forget(struct core *core);
void float_trap_take(struct machine *machine);
/* An MRS or MSR of the performance monitors; false: none of those that are ours, or not permitted. */
bool pmu_read(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t *value);
bool pmu_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t value);
/* The level that takes it by MDCR_ELx.TPM, as of the cycle counter; 0: none. */
unsigned pmu_hypervisor_trap(struct machine *machine);
/* The level that takes a trap of such an access; 0: it is permitted, or none. */
unsigned pmu_trap_target(struct machine *machine, const uc_arm64_cp_reg *reg, bool read);
bool core_add_hooks(struct machine *machine);
enum passed { PASSED_NOTHING, PASSED_SOME, PASSED_TO_WAIT /* behind a WFI */ };
/* Instructions that only pass time, up to the limit, without the engine. */
enum passed core_pass_time(struct machine *machine);
/*
 * Call back, with `user`, before each instruction from `first` to `last`; the callback may stop the
 * engine there. Code translated before knows nothing of it: forget it first, and again when the hook is gone.
 */
/* Whether anybody looks at single instructions. */
bool core_code_is_hooked(void);
bool core_hook_code(struct machine *machine, uint64_t first, uint64_t last, uc_cb_hookcode_t callback, void *user,
		    uc_hook *hook);
void core_unhook_code(struct machine *machine, uc_hook hook);
/* Counters and timers at guest time `now`, whoever asks; false: the register is none of them, or cannot be written. */
bool time_peek(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t *value);
bool time_poke(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t value);
/* The same for an MRS or MSR: false also where the instruction is not permitted. */
bool time_read(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t *value);
bool time_write(struct machine *machine, const uc_arm64_cp_reg *reg, uint64_t now, uint64_t value);
/* Sets the timers' interrupts as they are at guest time `now`, and finds out when they change next. */
void timers_update(struct machine *machine, uint64_t now);

#endif
