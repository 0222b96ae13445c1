/*
 * Delivery of interrupts (Arm ARM D1.13): where a pending one goes and whether it is masked. Physical ones come from the
 * GIC; virtual ones from its virtual interface and from HCR_EL2.VI, VF and VSE, which the engine never sees: it would
 * deliver them itself. The block hook looks here only while something is pending.
 *
 * The order among interrupts is the implementation's; this is QEMU's.
 */
#include "core.h"

#define SCR_NS (1 << 0)
#define SCR_IRQ (1 << 1)
#define SCR_FIQ (1 << 2)
#define HCR_FMO (1 << 3)
#define HCR_IMO (1 << 4)
#define HCR_AMO (1 << 5)
#define HCR_VF (1 << 6)
#define HCR_VI (1 << 7)
#define HCR_VSE (1 << 8)
#define HCR_TGE (1 << 27)

#define PSTATE_F (1 << 6)
#define PSTATE_I (1 << 7)
#define PSTATE_A (1 << 8)

#define EC_SERROR 0x2f

static const struct source {
	unsigned line;         /* enum interrupt_line */
	enum vector vector;
	unsigned mask;         /* in PSTATE, and its place in ISR_EL1 */
	unsigned to_el3;       /* physical: the bit of SCR_EL3 */
	unsigned to_el2;       /* the bit of HCR_EL2 that routes the physical one, and enables the virtual one */
} sources[] = {
	{LINE_FIQ, VECTOR_FIQ, PSTATE_F, SCR_FIQ, HCR_FMO},
	{LINE_IRQ, VECTOR_IRQ, PSTATE_I, SCR_IRQ, HCR_IMO},
	{LINE_VIRTUAL_IRQ, VECTOR_IRQ, PSTATE_I, 0, HCR_IMO},
	{LINE_VIRTUAL_FIQ, VECTOR_FIQ, PSTATE_F, 0, HCR_FMO},
	{LINE_VIRTUAL_SERROR, VECTOR_SERROR, PSTATE_A, 0, HCR_AMO},
};

#define SOURCES (sizeof sources / sizeof sources[0])

static unsigned pending(const struct core *core)
{
	return core->lines | (core->hcr_virtual & HCR_VI ? LINE_VIRTUAL_IRQ : 0) |
	       (core->hcr_virtual & HCR_VF ? LINE_VIRTUAL_FIQ : 0) |
	       (core->hcr_virtual & HCR_VSE ? LINE_VIRTUAL_SERROR : 0);
}

bool interrupt_pending(const struct machine *machine)
{
	return pending(&machine->core) != 0;
}

/* HCR_EL2 as it acts: there is no Secure EL2. */
static uint64_t acting_hcr(struct machine *machine)
{
	const struct translation_registers *registers = core_translation_registers(machine);

	return registers->scr_el3 & SCR_NS ? registers->hcr_el2 : 0;
}

/* The level that takes it now; 0: it is masked. */
static unsigned target(struct machine *machine, const struct source *source, uint64_t pstate)
{
	unsigned level = pstate >> 2 & 3;
	bool masked = pstate & source->mask;
	uint64_t hcr = acting_hcr(machine);

	if (!source->to_el3) {
		return level <= 1 && hcr & source->to_el2 && !(hcr & HCR_TGE) && !masked ? 1 : 0;
	}
	if (core_translation_registers(machine)->scr_el3 & source->to_el3) {
		return level == 3 && masked ? 0 : 3;
	}
	if (level == 3) {
		return 0;
	}
	if (hcr & (source->to_el2 | HCR_TGE)) {
		return level == 2 && masked ? 0 : 2;
	}
	return level == 2 || masked ? 0 : 1;
}

static const struct source *first_due(struct machine *machine, unsigned *level)
{
	unsigned lines = pending(&machine->core);
	uint64_t pstate = lines ? core_read_register(machine, REGISTER_PSTATE) : 0;

	for (unsigned i = 0; lines && i < SOURCES; i++) {
		if (lines & sources[i].line && (*level = target(machine, &sources[i], pstate)) != 0) {
			return &sources[i];
		}
	}
	return NULL;
}

bool interrupt_due(struct machine *machine)
{
	unsigned level;

	return first_due(machine, &level) != NULL;
}

bool interrupt_take(struct machine *machine)
{
	unsigned level;
	const struct source *source = first_due(machine, &level);

	if (!source) {
		return false;
	}
	if (source->line == LINE_VIRTUAL_SERROR) {
		machine->core.hcr_virtual &= ~HCR_VSE; /* taking it clears it (Arm ARM, HCR_EL2.VSE) */
	}
	exception_take(machine, &(struct exception){
		.vector = source->vector,
		.target = level,
		.syndrome = source->vector == VECTOR_SERROR ? exception_syndrome(EC_SERROR, 0) : 0,
		.return_address = core_read_register(machine, REGISTER_PC),
	});
	return true;
}

void core_set_line(struct machine *machine, enum interrupt_line line, bool level)
{
	machine->core.lines = (machine->core.lines & ~(unsigned)line) | (level ? line : 0);
	if (level) {
		core_call_attention(machine);
	}
}

/* Where HCR_EL2 routes an interrupt to EL2, EL1 sees the virtual one. */
uint64_t interrupt_status(struct machine *machine)
{
	unsigned lines = pending(&machine->core);
	uint64_t hcr = current_level(machine) == 1 ? acting_hcr(machine) : 0;
	uint64_t status = !(hcr & HCR_AMO) && machine->core.serror_pending ? PSTATE_A : 0;

	for (unsigned i = 0; i < SOURCES; i++) {
		bool virtual = hcr & sources[i].to_el2;

		if (lines & sources[i].line && virtual == !sources[i].to_el3) {
			status |= sources[i].mask;
		}
	}
	return status;
}

uint64_t interrupt_keep_virtual(struct machine *machine, uint64_t hcr)
{
	machine->core.hcr_virtual = hcr & HCR_VIRTUAL;
	if (machine->core.hcr_virtual) {
		core_call_attention(machine);
	}
	return hcr & ~(uint64_t)HCR_VIRTUAL;
}
