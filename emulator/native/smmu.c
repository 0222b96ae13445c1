/* SMMUv3 (IHI 0070): stream table, stage-2 translation and events. The command queue is in smmu_commands.c. */
#include <stdlib.h>

#include "machine.h"

#define STE_BYTES (SMMU_STE_WORDS * 8)
#define EVENT_WORDS 4
#define EVENT_BYTES (EVENT_WORDS * 8)
#define NOT_RECORDED 0

const struct master smmu_walker = {.privileged = true, .nsaid = NSAID_SMMU_WALKER};

/* One access on its way through, and what to tell if it is refused. */
struct transaction {
	struct machine *machine;
	uint32_t stream;
	uint64_t address;
	bool write;
};

bool smmu_attach(struct machine *machine)
{
	struct smmu *smmu = &machine->smmu;

	smmu->attached = smmu->attached || (tlb_init(&smmu->tlb) && smmu_ranges_init(smmu));
	return smmu->attached;
}

void smmu_release(struct machine *machine)
{
	if (machine->smmu.attached) {
		tlb_release(&machine->smmu.tlb);
		free(machine->smmu.range);
	}
}

struct smmu_registers *smmu_registers(struct machine *machine)
{
	return &machine->smmu.registers;
}

/* --- events (7.3) ------------------------------------------------------------------------------------------------- */

/* An overflow is told once until software acknowledges it (7.4). */
static void event_queue_overflows(struct smmu_registers *registers)
{
	if (!((registers->eventq_prod ^ registers->eventq_cons) & SMMU_EVENTQ_PROD_OVFLG_MASK)) {
		registers->eventq_prod ^= SMMU_EVENTQ_PROD_OVFLG_MASK;
	}
}

static void enqueue_event(struct machine *machine, const uint64_t record[EVENT_WORDS])
{
	struct smmu_registers *registers = &machine->smmu.registers;
	struct smmu_queue queue = smmu_queue(registers->eventq_base, EVENT_BYTES);
	uint32_t producer = registers->eventq_prod & queue.wrapping;
	uint64_t at;

	if (!FIELD(registers->cr0, SMMU_CR0_EVENTQEN)) {
		return;
	}
	if ((producer ^ (registers->eventq_cons & queue.wrapping)) == queue.entries) {
		event_queue_overflows(registers);
		return;
	}
	at = queue.base + (uint64_t)(producer & (queue.entries - 1)) * EVENT_BYTES;
	if (bus_write(machine, at, smmu_walker, record, EVENT_BYTES) != BUS_OK) {
		smmu_global_error(registers, SMMU_GERROR_EVENTQ_ABT_ERR_MASK);
		return;
	}
	registers->eventq_prod =
		(registers->eventq_prod & SMMU_EVENTQ_PROD_OVFLG_MASK) | ((producer + 1) & queue.wrapping);
}

static bool refuse(const struct transaction *transaction, uint64_t code)
{
	event(transaction->machine, EVENT_SMMU_FAULT, transaction->stream, transaction->address, code,
	      transaction->write);
	return false;
}

/* A record that says no more than which stream. */
static bool refuse_stream(const struct transaction *transaction, uint64_t code, uint64_t fetch_address)
{
	const uint64_t record[EVENT_WORDS] = {
		code | (uint64_t)transaction->stream << SMMU_EVENT_STREAMID_SHIFT,
		0,
		0,
		fetch_address & SMMU_EVENT_ADDRESS_MASK,
	};

	enqueue_event(transaction->machine, record);
	return refuse(transaction, code);
}

static bool refuse_address(const struct transaction *transaction, uint64_t code, uint64_t class, bool recorded)
{
	const uint64_t record[EVENT_WORDS] = {
		code | (uint64_t)transaction->stream << SMMU_EVENT_STREAMID_SHIFT,
		(transaction->write ? 0 : SMMU_EVENT_RNW_MASK) | SMMU_EVENT_S2_MASK | class << SMMU_EVENT_CLASS_SHIFT,
		transaction->address,
		transaction->address & PAGE_MASK & SMMU_EVENT_ADDRESS_MASK,
	};

	if (recorded) {
		enqueue_event(transaction->machine, record);
	}
	return refuse(transaction, code);
}

/* --- the stream table (5.2) ----------------------------------------------------------------------------------------- */

/* What was fetched stays, valid or not, until it is invalidated by command. */
static struct smmu_stream *find_stream(const struct transaction *transaction)
{
	struct smmu *smmu = &transaction->machine->smmu;
	unsigned table_bits = FIELD(smmu->registers.strtab_base_cfg, SMMU_STRTAB_BASE_CFG_LOG2SIZE);
	uint64_t table = smmu->registers.strtab_base & SMMU_STRTAB_BASE_ADDRESS_MASK;
	struct smmu_stream *stream;
	uint64_t words[SMMU_STE_WORDS];
	uint64_t at;

	if (transaction->stream >= SMMU_STREAMS || (table_bits < 32 && transaction->stream >> table_bits)) {
		if (FIELD(smmu->registers.cr2, SMMU_CR2_RECINVSID)) {
			refuse_stream(transaction, SMMU_EVENT_CODE_C_BAD_STREAMID, 0);
		} else {
			refuse(transaction, SMMU_EVENT_CODE_C_BAD_STREAMID);
		}
		return NULL;
	}
	stream = &smmu->stream[transaction->stream];
	if (stream->cached) {
		return stream;
	}
	if (table_bits < 32) {
		table &= ~(((uint64_t)STE_BYTES << table_bits) - 1); /* the table is aligned to its size (6.3.23) */
	}
	at = table + (uint64_t)transaction->stream * STE_BYTES;
	if (bus_read(transaction->machine, at, smmu_walker, words, sizeof words) != BUS_OK) {
		refuse_stream(transaction, SMMU_EVENT_CODE_F_STE_FETCH, at);
		return NULL;
	}
	for (unsigned i = 0; i < SMMU_STE_USED; i++) {
		stream->word[i] = words[i];
	}
	stream->cached = true;
	return stream;
}

static unsigned stage2_output_bits(uint64_t encoding)
{
	static const uint8_t bits[] = {32, 36, 40, 42, 44, 48};
	uint64_t limit = FIELD(SMMU_IDR5_RESET, SMMU_IDR5_OAS);

	return bits[encoding < limit ? encoding : limit];
}

/*
 * False: an illegal combination (5.2.2). Illegal here too: AArch32 or big-endian tables, other granules, stalls and
 * hardware update of flags (no IDR offers them), and S2AFFD (our walks always look at the access flag).
 */
static bool read_stage2(const struct smmu_stream *stream, struct stage2 *stage2)
{
	uint64_t word = stream->word[2];
	unsigned size = (unsigned)FIELD(word, SMMU_STE_S2T0SZ);
	unsigned start = (unsigned)FIELD(word, SMMU_STE_S2SL0);
	uint64_t unsupported = SMMU_STE_S2ENDI_MASK | SMMU_STE_S2AFFD_MASK | SMMU_STE_S2HD_MASK | SMMU_STE_S2HA_MASK |
			       SMMU_STE_S2S_MASK | SMMU_STE_S2TG_MASK;
	unsigned start_shift;

	if (!(word & SMMU_STE_S2AA64_MASK) || word & unsupported || start > 2 || size < 16 || size > 39) {
		return false;
	}
	*stage2 = (struct stage2){
		.table = stream->word[3] & SMMU_STE_S2TTB_MASK,
		.granule = PAGE_SHIFT,
		.input_bits = 64 - size,
		.start_level = 2 - start,
		.output_bits = stage2_output_bits(FIELD(word, SMMU_STE_S2PS)),
		.walker = smmu_walker,
	};
	start_shift = PAGE_SHIFT + 9 * (3 - stage2->start_level);
	return stage2->input_bits > start_shift && stage2->input_bits <= start_shift + 13 &&
	       !(stage2->table >> stage2->output_bits);
}

/* --- translation ------------------------------------------------------------------------------------------------------ */

static bool refuse_walk(const struct transaction *transaction, const struct fault *fault, bool recorded)
{
	switch (fault->status & 0x3c) {
	case FSC_ADDRESS_SIZE:
		return refuse_address(transaction, SMMU_EVENT_CODE_F_ADDR_SIZE, SMMU_EVENT_CLASS_INPUT, recorded);
	case FSC_TRANSLATION:
		return refuse_address(transaction, SMMU_EVENT_CODE_F_TRANSLATION, SMMU_EVENT_CLASS_INPUT, recorded);
	case FSC_ACCESS_FLAG:
		return refuse_address(transaction, SMMU_EVENT_CODE_F_ACCESS, SMMU_EVENT_CLASS_INPUT, recorded);
	default:
		return refuse_address(transaction, SMMU_EVENT_CODE_F_WALK_EABT, SMMU_EVENT_CLASS_TABLE, true);
	}
}

static bool translate_stage2(const struct transaction *transaction, const struct smmu_stream *stream,
			     uint64_t *physical)
{
	struct machine *machine = transaction->machine;
	struct tlb *tlb = &machine->smmu.tlb;
	struct tlb_context context = {
		.regime = REGIME_EL1_NORMAL,
		.vmid = (uint16_t)FIELD(stream->word[2], SMMU_STE_S2VMID),
	};
	bool recorded = stream->word[2] & SMMU_STE_S2R_MASK;
	struct tlb_entry *entry;
	struct stage2 stage2;
	struct leaf leaf;
	struct fault fault = {.status = FSC_NONE};

	if (!read_stage2(stream, &stage2)) {
		return refuse_stream(transaction, SMMU_EVENT_CODE_C_BAD_STE, 0);
	}
	entry = tlb_find(tlb, TLB_STAGE2, context, transaction->address);
	if (!entry) {
		if (!stage2_walk(machine, &stage2, transaction->address, &leaf, &fault)) {
			return refuse_walk(transaction, &fault, recorded);
		}
		entry = tlb_insert(tlb, &(struct tlb_entry){
			.kind = TLB_STAGE2,
			.regime = REGIME_EL1_NORMAL,
			.vmid = context.vmid,
			.address = transaction->address >> leaf.shift << leaf.shift,
			.output = leaf.address,
			.shift = leaf.shift,
			.level = leaf.level,
			.permissions = leaf.permissions,
			.attributes = leaf.attributes,
			.non_secure = true,
		});
	}
	if (!(entry->permissions & (transaction->write ? PERMIT_WRITE : PERMIT_READ))) {
		return refuse_address(transaction, SMMU_EVENT_CODE_F_PERMISSION, SMMU_EVENT_CLASS_INPUT, recorded);
	}
	*physical = entry->output | (transaction->address & ((UINT64_C(1) << entry->shift) - 1));
	return true;
}

bool smmu_translate(struct machine *machine, uint32_t stream_id, uint64_t address, bool write, uint64_t *physical)
{
	const struct transaction transaction = {machine, stream_id, address, write};
	const struct smmu_registers *registers = &machine->smmu.registers;
	const struct smmu_stream *stream;

	*physical = address;
	if (!machine->smmu.attached) {
		return refuse(&transaction, NOT_RECORDED);
	}
	if (!FIELD(registers->cr0, SMMU_CR0_SMMUEN)) {
		return !FIELD(registers->gbpa, SMMU_GBPA_ABORT) || refuse(&transaction, NOT_RECORDED);
	}
	stream = find_stream(&transaction);
	if (!stream) {
		return false;
	}
	if (!(stream->word[0] & SMMU_STE_V_MASK)) {
		return refuse_stream(&transaction, SMMU_EVENT_CODE_C_BAD_STE, 0);
	}
	switch (FIELD(stream->word[0], SMMU_STE_CONFIG)) {
	case SMMU_STE_CONFIG_BYPASS:
		return true;
	case SMMU_STE_CONFIG_STAGE2:
		return translate_stage2(&transaction, stream, physical);
	case SMMU_STE_CONFIG_STAGE1:
	case SMMU_STE_CONFIG_BOTH_STAGES:
		return refuse_stream(&transaction, SMMU_EVENT_CODE_C_BAD_STE, 0);
	default: /* 0b0xx: abort, and nothing recorded */
		return refuse(&transaction, NOT_RECORDED);
	}
}

bool smmu_translates(const struct smmu *smmu, uint32_t stream, uint16_t *vmid)
{
	if (!FIELD(smmu->registers.cr0, SMMU_CR0_SMMUEN)) {
		return false;
	}
	*vmid = (uint16_t)FIELD(smmu->stream[stream].word[2], SMMU_STE_S2VMID);
	return FIELD(smmu->stream[stream].word[0], SMMU_STE_CONFIG) == SMMU_STE_CONFIG_STAGE2;
}
