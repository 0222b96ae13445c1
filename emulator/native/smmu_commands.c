/* SMMUv3's command queue (IHI 0070, chapter 4): the only way in which its caches lose anything. */
#include "machine.h"

#define COMMAND_WORDS 2
#define COMMAND_BYTES (COMMAND_WORDS * 8)
#define EVERY_STREAM 31 /* CFGI_STE_RANGE: CFGI_ALL */
#define MAX_QUEUE_BITS FIELD(SMMU_IDR1_RESET, SMMU_IDR1_CMDQS) /* and IDR1.EVENTQS */

/* The fields of CMDQ_BASE and EVENTQ_BASE are the same. A queue is aligned to its size (6.3.25). */
struct smmu_queue smmu_queue(uint64_t base_register, unsigned entry_bytes)
{
	unsigned bits = (unsigned)FIELD(base_register, SMMU_CMDQ_BASE_LOG2SIZE);
	uint64_t base = base_register & SMMU_CMDQ_BASE_ADDRESS_MASK;

	bits = bits < MAX_QUEUE_BITS ? bits : MAX_QUEUE_BITS;
	return (struct smmu_queue){
		.base = base & ~(((uint64_t)entry_bytes << bits) - 1),
		.entries = UINT32_C(1) << bits,
		.wrapping = (UINT32_C(2) << bits) - 1,
	};
}

/* An error is active while the bits differ; one that is active already is not told again (7.5). */
void smmu_global_error(struct smmu_registers *registers, uint32_t error)
{
	if (!((registers->gerror ^ registers->gerrorn) & error)) {
		registers->gerror ^= error;
	}
}

static void invalidate_streams(struct smmu *smmu, uint64_t stream, uint64_t range)
{
	uint64_t count = range == EVERY_STREAM ? SMMU_STREAMS : UINT64_C(2) << range;
	uint64_t first = range == EVERY_STREAM ? 0 : stream & ~(count - 1);

	for (uint64_t i = first; i < first + count && i < SMMU_STREAMS; i++) {
		smmu->stream[i].cached = false;
	}
}

static void invalidate_stream(struct smmu *smmu, uint64_t stream)
{
	if (stream < SMMU_STREAMS) {
		smmu->stream[stream].cached = false;
	}
}

static uint32_t execute(struct machine *machine, const uint64_t command[COMMAND_WORDS])
{
	struct smmu *smmu = &machine->smmu;
	uint64_t target = FIELD(command[0], SMMU_CMD_TARGET);
	uint64_t address = command[1] & SMMU_CMD_ADDRESS_MASK;

	switch (FIELD(command[0], SMMU_CMD_OPCODE)) {
	case SMMU_CMD_OPCODE_PREFETCH_CONFIG:
	case SMMU_CMD_OPCODE_PREFETCH_ADDR:
		return SMMU_CMDQ_CONS_ERR_NONE; /* a hint */
	case SMMU_CMD_OPCODE_CFGI_STE:
		invalidate_stream(smmu, target);
		return SMMU_CMDQ_CONS_ERR_NONE;
	case SMMU_CMD_OPCODE_CFGI_STE_RANGE:
		invalidate_streams(smmu, target, FIELD(command[1], SMMU_CMD_RANGE));
		return SMMU_CMDQ_CONS_ERR_NONE;
	case SMMU_CMD_OPCODE_TLBI_S12_VMALL:
		tlb_drop_vmid(&smmu->tlb, REGIME_EL1_NORMAL, (uint16_t)target, true);
		return SMMU_CMDQ_CONS_ERR_NONE;
	case SMMU_CMD_OPCODE_TLBI_S2_IPA:
		tlb_drop_ipa(&smmu->tlb, REGIME_EL1_NORMAL, (uint16_t)target, address);
		return SMMU_CMDQ_CONS_ERR_NONE;
	case SMMU_CMD_OPCODE_TLBI_NSNH_ALL:
		tlb_drop_regime(&smmu->tlb, REGIME_EL1_NORMAL);
		return SMMU_CMDQ_CONS_ERR_NONE;
	case SMMU_CMD_OPCODE_SYNC:
		if (FIELD(command[0], SMMU_CMD_SYNC_CS) > SMMU_CMD_SYNC_CS_SEV) {
			return SMMU_CMDQ_CONS_ERR_ILL;
		}
		dma_drain(machine); /* 4.6.1: accesses that were translated before have been performed */
		npu_drain(machine);
		return SMMU_CMDQ_CONS_ERR_NONE;
	default:
		return SMMU_CMDQ_CONS_ERR_ILL;
	}
}

void smmu_consume(struct machine *machine)
{
	struct smmu_registers *registers = &machine->smmu.registers;
	struct smmu_queue queue = smmu_queue(registers->cmdq_base, COMMAND_BYTES);
	uint32_t consumer = registers->cmdq_cons & queue.wrapping;
	uint32_t error = SMMU_CMDQ_CONS_ERR_NONE;

	if (!machine->smmu.attached || !FIELD(registers->cr0, SMMU_CR0_CMDQEN) ||
	    (registers->gerror ^ registers->gerrorn) & SMMU_GERROR_CMDQ_ERR_MASK) {
		return;
	}
	while (consumer != (registers->cmdq_prod & queue.wrapping)) {
		uint64_t command[COMMAND_WORDS];
		uint64_t at = queue.base + (uint64_t)(consumer & (queue.entries - 1)) * COMMAND_BYTES;

		if (bus_read(machine, at, smmu_walker, command, sizeof command) != BUS_OK) {
			error = SMMU_CMDQ_CONS_ERR_ABT;
		} else {
			event(machine, EVENT_SMMU_COMMAND, command[0], command[1]);
			error = execute(machine, command);
		}
		if (error != SMMU_CMDQ_CONS_ERR_NONE) {
			break; /* CONS stays at the command (7.1) */
		}
		consumer = (consumer + 1) & queue.wrapping;
	}
	registers->cmdq_cons = consumer | error << SMMU_CMDQ_CONS_ERR_SHIFT;
	if (error != SMMU_CMDQ_CONS_ERR_NONE) {
		smmu_global_error(registers, SMMU_GERROR_CMDQ_ERR_MASK);
	}
}
