/*
 * What Python sees of the native machine. cffi parses this file as it stands: plain declarations, no directives.
 */

struct machine;
struct port;

enum stop_reason {
	STOP_WFI,         /* a WFI was executed; pc is its address */
	STOP_BUDGET,      /* the instruction count reached the limit that the caller gave */
	STOP_INTERRUPTED, /* SIGINT arrived */
	STOP_HALTED,      /* a device switched the machine off */
	STOP_EVENTS,      /* the event buffer is full: drain it and go on */
	STOP_CALLBACK,    /* a Python callback failed */
	STOP_LOST,        /* exceptions without end: a vector table that faults, say */
	STOP_SEMIHOSTING, /* HLT #0xF000 was executed: operation in x0, parameter in x1, the result belongs into x0 */
	STOP_STEP,        /* debug_api.h */
	STOP_BREAKPOINT,
	STOP_WATCHPOINT,
	STOP_AT_EVENT,
};

enum { EVENT_VMID_SHIFT = 8 }; /* of an event's context; below it is SCR_EL3.NS */

enum event_kind {
	EVENT_SMC,           /* function, x1..x5, exception level, context */
	EVENT_SMC_RETURN,    /* x0..x5, exception level, context: EL3 was left */
	EVENT_EXCEPTION,     /* syndrome, FAR, return address, from level, to level, world, IPA */
	EVENT_DENIED,        /* address, NSAID, secure, write, filter (enum filter_kind), reported as an error */
	EVENT_DEVICE_WRITE,  /* device, offset, size, value, world: a register that changes protection was programmed */
	EVENT_UNDECLARED,    /* device, offset, size, value, write, world: no register is declared there */
	EVENT_SMMU_COMMAND,  /* the command's two words */
	EVENT_SMMU_FAULT,    /* stream, input address, event code, write */
	EVENT_DMA,           /* stream, input address, output address, bytes, write */
	EVENT_TLB,           /* op1, crm, op2, operand: a TLBI was executed */
	EVENT_NOTE,          /* whatever Python puts into the stream: kind, five words */
	EVENT_OWNERSHIP,     /* first entry, count, old, new: a run of the watched table's bytes has changed */
	EVENT_TOKEN,         /* number, bytes of its text, the first 48 of them as words: an app showed a token */
	EVENT_NPU,           /* core, enum npu_what, its arguments */
};

enum filter_kind { FILTER_TZASC, FILTER_TZPC, FILTER_DECODE };

struct event {
	uint32_t kind;
	uint64_t instruction; /* guest time */
	uint64_t args[8];
};

/* --- life and memory ------------------------------------------------------------------------------------------ */

struct machine *machine_new(uint64_t dram_base, uint64_t dram_bytes, uint64_t sram_base, uint64_t sram_bytes);
void machine_free(struct machine *machine);
const char *machine_error(struct machine *machine); /* why machine_new or an engine call failed */
/* A device's Python side failed: the run stops with STOP_CALLBACK. */
void machine_callback_failed(struct machine *machine);
/* Who reaches a device that no TZPC bit rules. */
enum fixed_protection { PROTECTION_OPEN = 64, PROTECTION_SECURE };
/* A device's registers; protection is its place in the TZPC's DECPROT registers, or enum fixed_protection. */
void machine_add_device(struct machine *machine, int device, uint64_t base, uint64_t bytes, unsigned protection);
/* Memory behind flash devices, which turn every write into a command. False: the host gives none. */
bool machine_add_flash(struct machine *machine, uint64_t base, uint64_t bytes);
/* Reads and fetches of a flash device see its memory, or its registers. */
void machine_show_array(struct machine *machine, int device, bool shown);
/* Stores wait for the bus's answer, as on QEMU: one that it refuses is a data abort, not an SError. */
void machine_let_stores_wait(struct machine *machine);
/* Physical memory as the boot ROM or a test sees it: no filter. False: not memory. */
bool memory_read(struct machine *machine, uint64_t address, void *data, uint64_t bytes);
bool memory_write(struct machine *machine, uint64_t address, const void *data, uint64_t bytes);

/* --- core ------------------------------------------------------------------------------------------------------- */

enum stop_reason core_run(struct machine *machine, uint64_t instruction_limit);
uint64_t core_instructions(struct machine *machine);
void core_advance(struct machine *machine, uint64_t instruction); /* guest time jumps forward, as in WFI */
uint64_t core_next_event(struct machine *machine);                /* guest time of a device's next event; all ones: none */
/* Time goes from event to event until the NPU is idle or an interrupt is asked for. False: that is so already. */
bool core_wait_for_npu(struct machine *machine);
void core_halt(struct machine *machine);                          /* called by a device: stop the machine */
uint64_t core_read_register(struct machine *machine, unsigned index); /* 0..30 x, 31 sp, 32 pc, 33 pstate */
void core_write_register(struct machine *machine, unsigned index, uint64_t value);
/* x0 to x(count - 1). */
void core_read_first(struct machine *machine, uint64_t *values, unsigned count);
void core_write_first(struct machine *machine, const uint64_t *values, unsigned count);
/* The context below EL3, as events tell it: SCR_EL3.NS and, for the normal world, VTTBR_EL2.VMID. */
uint64_t core_context(struct machine *machine);
void core_read_vector(struct machine *machine, unsigned index, uint64_t *low, uint64_t *high);
void core_write_vector(struct machine *machine, unsigned index, uint64_t low, uint64_t high);
uint64_t core_read_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2);
void core_write_sysreg(struct machine *machine, unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
		       uint64_t value);
void core_reset(struct machine *machine, uint64_t entry);
void core_enable_semihosting(struct machine *machine);
struct first_fault {
	uint64_t pc;
	uint64_t syndrome;
	unsigned level; /* exception level that it happened at */
};

/* After STOP_LOST: the exception that began what never ended. */
void core_first_fault(struct machine *machine, struct first_fault *fault);
/* Watching calls to EL3 costs time: SMC_RETURN events and core_longest_call need it. */
void core_watch_calls(struct machine *machine, bool watch);
/* EVENT_OWNERSHIP tells of changes of this table's bytes, after each call to EL3. False: the host has no memory for it. */
bool core_watch_table(struct machine *machine, uint64_t base, uint64_t bytes);
/* The highest count of instructions executed between an SMC's arrival at EL3 and its return, since this was last asked. */
uint64_t core_longest_call(struct machine *machine);

/* --- events ------------------------------------------------------------------------------------------------------ */

void events_select(struct machine *machine, uint64_t kinds); /* bit = 1 << enum event_kind */
void events_emit(struct machine *machine, uint32_t kind, const uint64_t *args, unsigned count);
uint64_t events_drain(struct machine *machine, struct event *events, uint64_t capacity);

/* --- the filters --------------------------------------------------------------------------------------------------- */

struct tzasc_region {
	uint64_t base;
	uint64_t top; /* inclusive */
	bool enabled;
	bool secure_read;
	bool secure_write;
	uint16_t normal_read; /* a bit per NSAID */
	uint16_t normal_write;
};

struct tzasc_failure {
	bool latched;
	bool overrun;
	bool overlap;
	bool privileged;
	bool non_secure;
	bool write;
	uint8_t nsaid;
	uint64_t address;
};

void tzasc_set_region(struct machine *machine, unsigned index, const struct tzasc_region *region);
void tzasc_set_control(struct machine *machine, bool gate_open, bool bus_error);
void tzasc_failure(struct machine *machine, struct tzasc_failure *failure);
void tzasc_clear_failure(struct machine *machine);
void tzpc_set(struct machine *machine, uint32_t secure_sram_pages, uint64_t normal_devices);

/* --- ports ----------------------------------------------------------------------------------------------------------- */

struct port_fault {
	uint64_t syndrome; /* ESR_EL1 as a load or store at the same place would give it; 0: none */
	uint64_t address;
};

struct port *port_new(struct machine *machine, unsigned world, int vmid);
void port_free(struct port *port);
bool port_open(struct port *port); /* the core stands at EL1 of the port's world */
bool port_read(struct port *port, uint64_t address, void *data, uint64_t bytes);
bool port_write(struct port *port, uint64_t address, const void *data, uint64_t bytes);
bool port_load(struct port *port, uint64_t address, unsigned size, uint64_t *value);
bool port_store(struct port *port, uint64_t address, unsigned size, uint64_t value);
bool port_is_zero(struct port *port, uint64_t address, uint64_t bytes, bool *zero);
void port_last_fault(struct port *port, struct port_fault *fault);

/* --- for tests of translation: what the core would do at this instant, by its own TLB; access 0 read 1 write 2 fetch --- */

struct probe {
	bool allowed;
	uint64_t physical;
	bool non_secure;
	uint64_t syndrome; /* fault status code in bits 5:0, bit 7 stage-1 walk, bit 8 stage 2 */
	uint64_t ipa;
};

/* What the TLB says, without a walk and without a trace in it; rights: a bit for each access of the level's. */
struct cached {
	bool complete; /* no walk is needed */
	uint64_t physical;
	unsigned rights;
	bool non_secure; /* as stage 1 has it */
	bool uncombined; /* both stages have it, but not yet the entry of both that its first use makes */
};

void translate_cached(struct machine *machine, uint64_t address, unsigned level, struct cached *cached);
void translate_probe(struct machine *machine, uint64_t address, unsigned access, unsigned level, struct probe *probe);
void tlb_maintain(struct machine *machine, unsigned op1, unsigned crm, unsigned op2, uint64_t operand);
