/* Aborts and SErrors: syndrome and routing (Arm ARM D1.13). */
#include "machine.h"

#define EC_INSTRUCTION_ABORT_LOWER 0x20
#define EC_DATA_ABORT_LOWER 0x24
#define EC_SERROR 0x2f
#define ISS_WNR (UINT64_C(1) << 6)
#define ISS_S1PTW (UINT64_C(1) << 7)
#define ISS_CM (UINT64_C(1) << 8)
#define SCR_EA (1 << 3)
#define HCR_AMO (1 << 5)
#define PSTATE_A (1 << 8)
#define SCR_NS (1 << 0)
#define HCR_TGE (1 << 27)

uint64_t abort_syndrome(const struct fault *fault, enum access access, bool same_level)
{
	unsigned code = (access == ACCESS_FETCH ? EC_INSTRUCTION_ABORT_LOWER : EC_DATA_ABORT_LOWER) + same_level;

	return exception_syndrome(code, fault->status | (fault->stage1_walk ? ISS_S1PTW : 0) | (access == ACCESS_WRITE ? ISS_WNR : 0));
}

static bool is_external(const struct fault *fault)
{
	return fault->status >= FSC_EXTERNAL && fault->status < FSC_EXTERNAL_WALK + 4;
}

/* External aborts go to EL3 with SCR_EL3.EA; faults of stage 2 to EL2; all else to the regime's own level. */
static void take_abort(struct machine *machine, const struct fault *fault, enum access access, uint64_t address,
		       uint64_t syndrome)
{
	unsigned level = current_level(machine);
	unsigned target = exception_default_target(machine, level);

	if (is_external(fault) && core_translation_registers(machine)->scr_el3 & SCR_EA) {
		target = 3;
	} else if (fault->stage2) {
		target = 2;
	}
	exception_take(machine, &(struct exception){
		.vector = VECTOR_SYNC,
		.target = target,
		.syndrome = abort_syndrome(fault, access, level == target) | syndrome |
			    (fault->stage2 && !fault->stage1_walk ? fault->transfer : 0),
		.return_address = core_read_register(machine, REGISTER_PC),
		.has_far = true,
		.far = address,
		.has_ipa = fault->stage2,
		.ipa = fault->ipa,
	});
}

void exception_abort(struct machine *machine, const struct fault *fault, enum access access, uint64_t address)
{
	take_abort(machine, fault, access, address, 0);
}

void exception_abort_cache(struct machine *machine, const struct fault *fault, uint64_t address)
{
	take_abort(machine, fault, ACCESS_WRITE, address, ISS_CM); /* reported as a write, Arm ARM ESR_ELx.WnR */
}

/* Where a pending SError goes now; 0: it is masked and stays pending (Arm ARM D1.13.4). */
static unsigned serror_target(struct machine *machine)
{
	unsigned level = current_level(machine);
	bool masked = core_read_register(machine, REGISTER_PSTATE) & PSTATE_A;
	uint64_t scr = core_translation_registers(machine)->scr_el3;

	if (scr & SCR_EA) {
		return level == 3 && masked ? 0 : 3;
	}
	if (level == 3) {
		return 0;
	}
	if (scr & SCR_NS && core_translation_registers(machine)->hcr_el2 & (HCR_AMO | HCR_TGE)) {
		return level == 2 && masked ? 0 : 2;
	}
	return level == 2 || masked ? 0 : 1;
}

bool exception_serror_due(struct machine *machine)
{
	return machine->core.serror_pending && serror_target(machine) != 0;
}

bool exception_serror(struct machine *machine)
{
	unsigned target = serror_target(machine);

	if (!target) {
		return false;
	}
	machine->core.serror_pending = false;
	exception_take(machine, &(struct exception){
		.vector = VECTOR_SERROR,
		.target = target,
		.syndrome = exception_syndrome(EC_SERROR, 0),
		.return_address = core_read_register(machine, REGISTER_PC),
	});
	return true;
}
