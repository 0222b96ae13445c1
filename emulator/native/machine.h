/*
 * The native machine: one core (an engine of Unicorn used for its translator only), the memory, the filters that
 * judge every physical access, our own translation with its architectural TLB, the SMMU and the DMA masters behind it.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unicorn/unicorn.h>

#include "api.h"
#include "sysregs.h"
#include "tlb.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE (UINT64_C(1) << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define PHYSICAL_BITS 44 /* Cortex-A72 */

#define NSAID_CPU 0
#define NSAID_SMMU_WALKER 1

#define MAX_DEVICES 48
#define TZASC_REGIONS 9

/* --- the bus -------------------------------------------------------------------------------------------------- */

/* What a bus master presents with an access. */
struct master {
	bool secure;
	bool privileged;
	uint8_t nsaid;
};

enum bus_result {
	BUS_OK,
	BUS_IGNORED, /* denied without an error (TZC-400 ACTION): reads give zeros, writes vanish */
	BUS_ERROR,   /* denied with an error, or nothing decodes the address */
};

struct target {
	uint8_t *host; /* memory: the byte at the address; NULL: a device */
	int device;    /* when host is NULL */
	uint64_t offset;
};

/* Judges one access that lies within a page; on BUS_OK *target says what is there. A denial is latched and reported. */
enum bus_result bus_check(struct machine *machine, uint64_t address, struct master master, bool write,
			  struct target *target);
/* How many of these bytes, at least one, the filters judge as they judge the first. */
uint64_t bus_reach(struct machine *machine, uint64_t address, uint64_t bytes);
/* Whether it is memory and would be permitted; nothing is latched or reported. */
bool bus_permits(struct machine *machine, uint64_t address, struct master master, bool write);
/* Memory only (a device answers BUS_ERROR); any length; stops at the first page that is refused. */
enum bus_result bus_read(struct machine *machine, uint64_t address, struct master master, void *data, size_t bytes);
enum bus_result bus_write(struct machine *machine, uint64_t address, struct master master, const void *data,
			  size_t bytes);
/* One device register access, already judged by bus_check. */
enum bus_result device_read(struct machine *machine, const struct target *target, unsigned size, bool secure,
			    uint64_t *value);
enum bus_result device_write(struct machine *machine, const struct target *target, unsigned size, bool secure,
			     uint64_t value);
/* The Python side of a device; false: bus error. */
bool device_access(struct machine *machine, int device, uint64_t offset, unsigned size, bool write, bool secure,
		   uint64_t *value);

struct tzasc {
	struct tzasc_region region[TZASC_REGIONS];
	bool gate_open;
	bool bus_error;
	struct tzasc_failure failure;
};

struct tzpc {
	uint32_t secure_sram_pages;
	uint64_t normal_devices;
};

enum bus_result tzasc_judge(struct machine *machine, uint64_t address, struct master master, bool write);

/* --- memory ---------------------------------------------------------------------------------------------------- */

struct memory {
	uint64_t base;
	uint64_t bytes;
	uint8_t *host;      /* sparse: the host backs a page when it is first written */
	uint64_t *code;     /* a bit per page: the engine may hold translated code of it */
	uint64_t *dirty;    /* a bit per page: it may have been written since its state was saved */
};

bool memory_init(struct memory *memory, uint64_t base, uint64_t bytes); /* false: the host has no room */
struct memory *memory_of(struct machine *machine, uint64_t address); /* NULL: not memory */
uint8_t *memory_at(struct machine *machine, uint64_t address);
/*
 * These bytes of a page were written, or (none) the core is about to write somewhere in it: it is dirty, and the engine
 * must forget code that it translated from it.
 */
void memory_written(struct machine *machine, uint64_t address, uint64_t bytes);
bool memory_is_zero(const uint8_t *data, size_t bytes);

/* --- translation ------------------------------------------------------------------------------------------------ */

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

#define PERMIT_READ 1
#define PERMIT_WRITE 2
#define PERMIT_EXECUTE 4
#define PERMIT_EL0_SHIFT 3 /* stage 1 of EL1&0: bits 2:0 are EL1's, 5:3 are EL0's */

/* Fault status codes (ESR_ELx.ISS[5:0]); the level is added where the architecture does. */
#define FSC_ADDRESS_SIZE 0x00
#define FSC_TRANSLATION 0x04
#define FSC_ACCESS_FLAG 0x08
#define FSC_PERMISSION 0x0c
#define FSC_EXTERNAL 0x10
#define FSC_EXTERNAL_WALK 0x14
#define FSC_ALIGNMENT 0x21
#define FSC_NONE 0xff

struct fault {
	uint8_t status;      /* FSC_NONE: no fault */
	bool stage2;
	bool stage1_walk;    /* a stage-2 fault on the fetch of a stage-1 descriptor */
	uint32_t transfer;   /* what load_store_syndrome says of the instruction; 0: nothing */
	uint64_t ipa;        /* stage 2 only */
};

/* What a walk found: a block or page. */
struct leaf {
	uint64_t address;
	uint8_t shift;       /* log2 of its size */
	uint8_t level;
	uint8_t permissions; /* PERMIT_*; stage 1 of EL1&0 has EL0's too */
	uint8_t attributes;  /* stage 1: the MAIR byte; stage 2: MemAttr */
	uint8_t shareability;
	bool global;
	bool non_secure;
};

/* A stage-2 table, of the CPU's or of a stream. */
struct stage2 {
	uint64_t table;
	unsigned granule;    /* log2 of its bytes */
	unsigned input_bits;
	unsigned start_level;
	unsigned output_bits;
	struct master walker;
};

/* Everything of the translation system that one walk of stage 1 depends on. */
struct stage1 {
	uint64_t table;
	unsigned granule;
	unsigned input_bits;
	unsigned output_bits;
	uint64_t mair;
	bool two_privileges; /* EL1&0: AP[1], UXN and PXN mean something */
	bool write_implies_execute_never;
	bool secure;
	bool secure_fetch_only; /* SCR_EL3.SIF */
};

/* Both stages on one address of the core. */
struct context {
	struct tlb_context tlb;
	bool stage1_on;
	bool stage2_on;
	bool disabled_walk;  /* TCR_ELx.EPDn: a miss is a translation fault */
	bool cacheable;      /* HCR_EL2.DC: with stage 1 off, memory is Normal */
	bool normal_tables_only; /* HCR_EL2.PTW: tables of stage 1 may not lie in what stage 2 calls Device */
	struct stage1 stage1;
	struct stage2 stage2;
};

/* Walks do not check permissions (the caller knows the access). fault->status is FSC_NONE on success. */
bool stage2_walk(struct machine *machine, const struct stage2 *stage2, uint64_t ipa, struct leaf *leaf,
		 struct fault *fault);
bool stage1_walk(struct machine *machine, const struct context *context, uint64_t address, struct leaf *leaf,
		 struct fault *fault);
/* IPA to PA through the TLB; the entry stays valid until the next look-up. */
const struct tlb_entry *stage2_lookup(struct machine *machine, const struct context *context, uint64_t ipa,
				      struct fault *fault);

struct translation {
	uint64_t address;
	bool non_secure;     /* the output address space */
	uint8_t attributes;  /* of stage 1 */
	uint8_t shareability;
	bool two_stages;     /* what follows is stage 2's */
	uint8_t memory_type; /* MemAttr */
	uint8_t stage2_shareability;
};

/* Translates as the core would at exception level `level` (0..3) of the current security state. */
bool translate(struct machine *machine, uint64_t address, enum access access, unsigned level,
	       struct translation *translation, struct fault *fault);
/*
 * How many bytes from an address on, whose own page has been translated, are translated likewise by what the TLB has, and
 * lie together in physical memory; and until when.
 */
uint64_t translate_reach(struct machine *machine, uint64_t address, uint64_t bytes, enum access access, unsigned level,
			 const struct translation *first, struct tlb_found *found);
/* The same with stage 2 or without: then the output is an IPA (AT S1*). */
bool translate_stages(struct machine *machine, uint64_t address, enum access access, unsigned level, bool stage2,
		      struct translation *translation, struct fault *fault);
/* AT, by its encoding. False: it takes the exception that *fault describes. */
bool address_translate(struct machine *machine, unsigned op1, unsigned op2, uint64_t address, struct fault *fault);
unsigned current_level(struct machine *machine);

/* --- SMMU and DMA ------------------------------------------------------------------------------------------------- */

#include "dma.h"
#include "npu.h"
#include "smmu.h"

#include "debug.h"
#include "instructions.h"
#include "gic.h"

/* --- the core ----------------------------------------------------------------------------------------------------- */

#define REGISTER_SP 31
#define REGISTER_PC 32
#define REGISTER_PSTATE 33

#define SCRUB_LIST 64
#define TIMERS 4 /* CNTP, CNTV, CNTHP, CNTPS */

struct timer {
	uint8_t control;  /* ENABLE, IMASK */
	uint64_t compare; /* CVAL */
};

/* What asks the core for an exception, a bit each. */
enum interrupt_line {
	LINE_IRQ = 1,
	LINE_FIQ = 2,
	LINE_VIRTUAL_IRQ = 4,
	LINE_VIRTUAL_FIQ = 8,
	LINE_VIRTUAL_SERROR = 16,
};

/* What the fill hook refused; the run loop acts on it. */
struct refusal {
	bool pending;
	uint64_t page;
	enum access access;
	struct fault fault; /* FSC_NONE: translation is fine, but the place is a device or a filter denies it */
};

/* The page that an instruction was last read from. */
struct fetched {
	uint64_t page;
	unsigned level;
	uint64_t physical;
	bool non_secure;
	const uint8_t *host; /* NULL: none */
};

#define LEVEL_UNKNOWN 4
#define FLOAT_FREE_BLOCKS 256

/* A block without an instruction that is trapped. */
struct float_free {
	uint64_t start;
	uint64_t bytes;
	uint64_t generation;
	uint8_t level;
	bool returns; /* ends with an ERET */
};

#define PMU_COUNTERS 6

/* What the performance monitors hold: a bit for each counter, the cycle counter's is 31. */
struct pmu {
	uint32_t control; /* PMCR_EL0, what can be written of it */
	uint32_t enabled, overflows, interrupts;
	uint32_t count[PMU_COUNTERS];
	uint32_t type[PMU_COUNTERS];
};

struct core {
	uc_engine *engine;
	uc_context *engine_context; /* scratch for engine_exception */
	uint64_t instructions;    /* executed; during a block, as if it were complete */
	uint64_t block_start;
	uint64_t block_bytes;
	uint64_t limit;           /* the block hook stops before a block that would pass it */
	uint64_t quiet_until;     /* the block hook only counts up to here: the limit, or 0 when something asks for more */
	uint64_t part_bytes;      /* of the next block only this much will be executed; 0: all of it */
	bool held;                /* the block hook stopped the engine before a block */
	bool forgetting;          /* the engine looks an address up only to drop its code */
	bool halted;
	bool serror_pending;
	struct pmu pmu;
	bool was_below_el3;       /* or is about to be: an ERET is prepared */
	enum { FLOAT_TRAPS_UNKNOWN, FLOAT_TRAPS_NOWHERE, FLOAT_TRAPS_BELOW_EL3, FLOAT_TRAPS_EVERYWHERE } float_traps;
	bool float_watch;         /* each block is looked through for what they catch */
	uint8_t float_level;      /* while they are armed: the exception level, or LEVEL_UNKNOWN */
	uint64_t float_generation; /* grows when what was found in a block may no longer hold */
	struct float_free float_free[FLOAT_FREE_BLOCKS];
	uint64_t caught_at;       /* the block hook stopped before a block for this instruction, which is ours; 0: it did not */
	unsigned doubtful_returns; /* a bit for each level whose SPSR_ELx might make an ERET illegal */
	struct refusal refusal;
	struct fault trap;        /* status FSC_NONE: none; an AT met a fault that it takes as an exception */
	uint64_t trap_address;
	struct translation_registers registers;
	struct fetched fetched;
	struct timer timer[TIMERS];
	uint64_t virtual_offset;  /* CNTVOFF_EL2 */
	uint64_t timers_due;      /* guest time at which the next timer raises its interrupt; all ones: none does */
	unsigned lines;           /* enum interrupt_line: what the GIC signals */
	uint64_t hcr_virtual;     /* HCR_EL2.VI, VF and VSE, which the engine does not get */
	uint64_t stuck_at;        /* instruction count of the last exception, to see a vector that faults for ever */
	unsigned stuck;
	struct first_fault first_fault;
	bool semihosting;         /* HLT #0xF000 is a call of the debugger's */
	bool semihosting_called;
	bool lost;                /* the engine did what no guest can cause, or a vector table faults for ever */
	bool watch_calls;
	bool in_call;             /* an SMC arrived at EL3 and has not returned */
	uint64_t call_start;
	uint64_t longest_call;
	uint64_t scrubbed[SCRUB_LIST]; /* pages that EL3 wrote */
	unsigned scrubbed_count;
};

/* A table in memory whose changes are events. */
struct table {
	uint64_t base;
	uint64_t bytes;
	uint8_t *known; /* what it held when it was last compared; NULL: there is none */
};

struct machine {
	struct core core;
	struct memory sram;
	struct memory dram;
	struct memory flash; /* no bytes: this board has none */
	struct tzasc tzasc;
	struct tzpc tzpc;
	struct tlb tlb;
	uint64_t restores; /* so often it has become another TLB */
	struct smmu smmu;
	struct dma dma;
	struct npu npu;
	struct debug debug;
	struct instructions instructions;
	struct table table;
	struct gic gic;
	struct {
		uint64_t base;
		uint64_t bytes;
		unsigned protection; /* a bit of the TZPC's, or enum fixed_protection */
		bool present;
		bool shows_array;    /* flash: reads and fetches see memory */
		enum gic_frame gic_frame;
		unsigned npu_window; /* 0: none; else its number, and one */
	} device[MAX_DEVICES];
	uint64_t event_kinds;
	struct event *events;
	uint64_t event_count;
	bool callback_failed;
	bool stores_wait; /* for the bus's answer */
	char error[160];
};

/* Registers by the engine's numbers, at most 8. */
void core_read_registers(struct machine *machine, const int *registers, uint64_t *values, int count);
/* Our own writes; core_write_sysreg, for those from outside, also tells whoever watches writes. */
void core_store_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
		       uint64_t value);
const struct translation_registers *core_translation_registers(struct machine *machine);
/* A range of physical memory within one page: what the engine has translated there. */
void core_forget_code(struct machine *machine, uint64_t address, uint64_t bytes);
void core_flush(struct machine *machine); /* the engine's TLB, which merely caches ours */
/* The block hook looks closer from now on, until nothing asks for it. */
void core_call_attention(struct machine *machine);
void core_set_line(struct machine *machine, enum interrupt_line line, bool level);
void core_smc_arrived(struct machine *machine, unsigned level);
void core_entered_el3(struct machine *machine);
/* HLT #0xF000 at pc counts as executed; the run stops behind it. */
void core_semihosting_called(struct machine *machine, uint64_t pc);
bool core_init(struct machine *machine);
bool events_full(const struct machine *machine);

/* --- exceptions ----------------------------------------------------------------------------------------------------- */

enum vector { VECTOR_SYNC = 0x000, VECTOR_IRQ = 0x080, VECTOR_FIQ = 0x100, VECTOR_SERROR = 0x180 };

struct exception {
	enum vector vector;
	unsigned target;          /* exception level */
	uint64_t syndrome;
	uint64_t return_address;
	bool has_far;
	uint64_t far;
	bool has_ipa;
	uint64_t ipa;
};

void exception_take(struct machine *machine, const struct exception *exception);
/* ESR_ELx of a 32-bit instruction: exception class and ISS. */
uint64_t exception_syndrome(unsigned code, uint64_t iss);
/* The level that takes a synchronous exception which the given level causes for itself. */
unsigned exception_default_target(struct machine *machine, unsigned level);
/* An exception that the engine reports by number; false: none that the architecture knows. */
bool exception_from_engine(struct machine *machine, uint32_t number, uint64_t pc, unsigned level);
void exception_undefined(struct machine *machine);
void exception_illegal_state(struct machine *machine);
void exception_pc_alignment(struct machine *machine, uint64_t pc);
bool is_wfi(struct machine *machine, uint64_t address);
/*
 * A WFI in a loop of its own, with interrupts masked: one that is pending does not lead out of it, so whoever runs the
 * machine is asked, as if none were. `behind`: the address behind the WFI.
 */
bool is_parked(struct machine *machine, uint64_t behind);
/* An access to a register that the engine's Cortex-A72 lacks; false: it is none of those. */
bool implementation_register(struct machine *machine, uint64_t pc, unsigned level);
void exception_abort(struct machine *machine, const struct fault *fault, enum access access, uint64_t address);
/* The abort of a cache maintenance or address translation instruction. */
void exception_abort_cache(struct machine *machine, const struct fault *fault, uint64_t address);
/* Whether a pending SError is not masked. */
bool exception_serror_due(struct machine *machine);
/* Takes the pending SError; false: it is masked. */
bool exception_serror(struct machine *machine);
bool exception_stuck(const struct machine *machine);
/* Something asks for an interrupt, masked or not: that ends a WFI. */
bool interrupt_pending(const struct machine *machine);
/* One that is pending is not masked. */
bool interrupt_due(struct machine *machine);
/* Takes the first that is due; false: none is. */
bool interrupt_take(struct machine *machine);
uint64_t interrupt_status(struct machine *machine); /* ISR_EL1 */
/* A value of HCR_EL2 is written: keeps the virtual interrupts of it; the rest is the engine's. */
uint64_t interrupt_keep_virtual(struct machine *machine, uint64_t hcr);
/* The syndrome of a load or store abort, at the level that would take it. */
uint64_t abort_syndrome(const struct fault *fault, enum access access, bool same_level);
/* Where the page at an address is, if it can be executed at this level: remembered until translation may have changed. */
const uint8_t *core_code_page(struct machine *machine, uint64_t page, unsigned level);
bool read_instruction(struct machine *machine, uint64_t address, unsigned level, uint32_t *instruction);

/* --- loads and stores that the engine cannot perform itself ------------------------------------------------------------ */

enum address_mode { MODE_NONE, MODE_PRE, MODE_POST };

struct load_store {
	bool store;
	bool vector;
	bool exclusive;
	bool ordered;             /* LDAR, STLR */
	bool unprivileged;
	bool sign_extend;
	bool wide;                /* the destination is an X register */
	bool zero_block;          /* DC ZVA */
	uint8_t size;             /* bytes of one element */
	uint8_t elements;         /* registers that take part, from rt */
	uint8_t span;             /* bytes of all that it accesses, from address on; 0: none */
	uint8_t rt, rt2, rn, rs;
	enum address_mode mode;
	uint64_t address;
	uint64_t far;             /* the same, but for DC ZVA: what the register holds */
	uint64_t written_back;
};

/* Decodes the instruction with the registers as they are. False: no load or store that we know. */
bool load_store_decode(struct machine *machine, uint32_t instruction, uint64_t pc, struct load_store *access);
bool load_store_is_unprivileged(uint32_t instruction);
/* ESR_EL2.ISS[24:14] of a stage-2 abort: ISV with size, sign, register, width, order; 0: no simple load or store. */
uint32_t load_store_syndrome(const struct load_store *access);
/* Performs it piece by piece over memory, devices and denied pages; takes the abort that it meets. */
void load_store_perform(struct machine *machine, const struct load_store *access, uint64_t pc);
#define event(machine, kind, ...)                                                                                      \
	do {                                                                                                           \
		if (((machine)->event_kinds | (machine)->debug.event_kinds) >> (kind) & 1) {                                                            \
			const uint64_t event_args[] = {__VA_ARGS__};                                                   \
			events_emit(machine, kind, event_args, sizeof event_args / sizeof event_args[0]);              \
		}                                                                                                      \
	} while (0)

#endif
