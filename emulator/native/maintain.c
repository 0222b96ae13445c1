/* TLBI by its encoding (Arm ARM C5.5), scoped as the architecture says: SCR_EL3.NS counts at EL3 too. */
#include "machine.h"

static uint64_t operand_address(uint64_t operand)
{
	return (uint64_t)((int64_t)(operand << 20) >> 8); /* VA[55:12] in bits 43:0, sign-extended from bit 55 */
}

static void maintain_el1(struct tlb *tlb, struct tlb_context context, unsigned op2, uint64_t operand)
{
	context.asid = (uint16_t)(operand >> 48);
	switch (op2) {
	case 0: /* VMALLE1 */
		tlb_drop_vmid(tlb, context.regime, context.vmid, false);
		break;
	case 2: /* ASIDE1 */
		tlb_drop_asid(tlb, context.regime, context.vmid, context.asid);
		break;
	case 1: /* VAE1 */
	case 5: /* VALE1 */
		tlb_drop_address(tlb, context, operand_address(operand), false);
		break;
	case 3: /* VAAE1 */
	case 7: /* VAALE1 */
		tlb_drop_address(tlb, context, operand_address(operand), true);
		break;
	}
}

static void maintain_el2(struct tlb *tlb, struct tlb_context el1, unsigned crm, unsigned op2, uint64_t operand)
{
	bool non_secure = el1.regime == REGIME_EL1_NORMAL;
	struct tlb_context el2 = {.regime = REGIME_EL2};

	if (crm == 0 || crm == 4) { /* IPAS2E1, IPAS2LE1 */
		if (non_secure) {
			tlb_drop_ipa(tlb, el1.regime, el1.vmid, operand << 12 & UINT64_C(0x0000fffffffff000));
		}
		return;
	}
	switch (op2) {
	case 0: /* ALLE2 */
		tlb_drop_regime(tlb, REGIME_EL2);
		break;
	case 1: /* VAE2 */
	case 5: /* VALE2 */
		tlb_drop_address(tlb, el2, operand_address(operand), true);
		break;
	case 4: /* ALLE1 */
		tlb_drop_regime(tlb, el1.regime);
		break;
	case 6: /* VMALLS12E1 */
		tlb_drop_vmid(tlb, el1.regime, el1.vmid, true);
		break;
	}
}

void tlb_maintain(struct machine *machine, unsigned op1, unsigned crm, unsigned op2, uint64_t operand)
{
	bool non_secure = core_translation_registers(machine)->scr_el3 & 1;
	struct tlb_context el1 = {
		.regime = non_secure ? REGIME_EL1_NORMAL : REGIME_EL1_SECURE,
		.vmid = non_secure ? (uint16_t)(core_translation_registers(machine)->vttbr_el2 >> 48) : 0,
	};

	event(machine, EVENT_TLB, op1, crm, op2, operand);
	if (op1 == 0) {
		if (op2 != 0 && !(core_translation_registers(machine)->tcr_el1 >> 36 & 1)) {
			operand &= UINT64_C(0x00ffffffffffffff); /* 8-bit ASIDs */
		}
		maintain_el1(&machine->tlb, el1, op2, operand);
	} else if (op1 == 4) {
		maintain_el2(&machine->tlb, el1, crm, op2, operand);
	} else if (op2 == 0) { /* ALLE3 */
		tlb_drop_regime(&machine->tlb, REGIME_EL3);
	} else {
		tlb_drop_address(&machine->tlb, (struct tlb_context){.regime = REGIME_EL3}, operand_address(operand),
				 true);
	}
	core_flush(machine);
}
