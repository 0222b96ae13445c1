/*
 * Decoding of A64 loads and stores (Arm ARM C4.1.88 and after): needed where the engine was refused a page, to give the
 * fault its address and to perform the accesses that meet devices or denied memory.
 */
#include "machine.h"

static uint64_t bits(uint32_t instruction, unsigned msb, unsigned lsb)
{
	return instruction >> lsb & ((UINT64_C(2) << (msb - lsb)) - 1);
}

static int64_t signed_bits(uint32_t instruction, unsigned msb, unsigned lsb)
{
	unsigned width = msb - lsb + 1;

	return (int64_t)(bits(instruction, msb, lsb) << (64 - width)) >> (64 - width);
}

static uint64_t x_or_zero(struct machine *machine, unsigned index)
{
	return index == 31 ? 0 : core_read_register(machine, index);
}

static uint64_t base_register(struct machine *machine, const struct load_store *access)
{
	return core_read_register(machine, access->rn); /* 31 is SP here, in the numbering of core_read_register too */
}

static void set_address(struct machine *machine, struct load_store *access, int64_t offset)
{
	uint64_t base = base_register(machine, access);

	access->address = access->mode == MODE_POST ? base : base + (uint64_t)offset;
	access->written_back = base + (uint64_t)offset;
}

/* LDXR, STXR, LDAR, STLR and their pairs. */
static bool decode_exclusive(struct machine *machine, uint32_t instruction, struct load_store *access)
{
	bool ordered = bits(instruction, 23, 23);
	bool pair = bits(instruction, 21, 21);

	if (ordered && pair) {
		return false; /* compare and swap: not in Armv8.0 */
	}
	access->size = (uint8_t)(1 << bits(instruction, 31, 30));
	access->store = !bits(instruction, 22, 22);
	access->exclusive = !ordered;
	access->ordered = ordered;
	access->elements = pair ? 2 : 1;
	access->rs = (uint8_t)bits(instruction, 20, 16);
	access->wide = access->size == 8;
	set_address(machine, access, 0);
	return true;
}

static bool decode_literal(uint32_t instruction, uint64_t pc, struct load_store *access)
{
	unsigned opc = (unsigned)bits(instruction, 31, 30);

	if (access->vector) {
		access->size = (uint8_t)(4 << opc);
	} else {
		access->size = opc == 1 ? 8 : 4;
		access->sign_extend = opc == 2;
		access->wide = opc != 0;
	}
	access->elements = 1;
	access->address = pc + (uint64_t)(signed_bits(instruction, 23, 5) * 4);
	return opc != 3; /* PRFM */
}

static bool decode_pair(struct machine *machine, uint32_t instruction, struct load_store *access)
{
	static const enum address_mode modes[] = {MODE_NONE, MODE_POST, MODE_NONE, MODE_PRE};
	unsigned opc = (unsigned)bits(instruction, 31, 30);

	if (opc == 3) {
		return false;
	}
	access->store = !bits(instruction, 22, 22);
	access->elements = 2;
	access->mode = modes[bits(instruction, 24, 23)];
	if (access->vector) {
		access->size = (uint8_t)(4 << opc);
	} else {
		access->size = opc & 2 ? 8 : 4;
		access->sign_extend = opc == 1;
		access->wide = opc != 0;
	}
	set_address(machine, access, signed_bits(instruction, 21, 15) * access->size);
	return true;
}

static uint64_t extended_index(struct machine *machine, uint32_t instruction, unsigned scale)
{
	uint64_t index = x_or_zero(machine, (unsigned)bits(instruction, 20, 16));
	unsigned option = (unsigned)bits(instruction, 15, 13);

	if (option == 2) {
		index = (uint32_t)index; /* UXTW */
	} else if (option == 6) {
		index = (uint64_t)(int64_t)(int32_t)index; /* SXTW */
	}
	return bits(instruction, 12, 12) ? index << scale : index;
}

static bool decode_single(struct machine *machine, uint32_t instruction, struct load_store *access)
{
	unsigned size = (unsigned)bits(instruction, 31, 30);
	unsigned opc = (unsigned)bits(instruction, 23, 22);
	unsigned scale = access->vector && opc & 2 ? 4 : size;

	if (!access->vector && size == 3 && opc == 2) {
		return false; /* PRFM */
	}
	access->size = (uint8_t)(1 << scale);
	access->elements = 1;
	access->store = access->vector ? !(opc & 1) : opc == 0;
	access->sign_extend = !access->vector && opc >= 2;
	access->wide = size == 3 || opc == 2;
	if (bits(instruction, 24, 24)) {
		set_address(machine, access, (int64_t)(bits(instruction, 21, 10) << scale));
	} else if (bits(instruction, 21, 21)) {
		if (bits(instruction, 11, 10) != 2) {
			return false; /* atomics: not in Armv8.0 */
		}
		set_address(machine, access, (int64_t)extended_index(machine, instruction, scale));
	} else {
		static const enum address_mode modes[] = {MODE_NONE, MODE_POST, MODE_NONE, MODE_PRE};

		access->mode = modes[bits(instruction, 11, 10)];
		access->unprivileged = load_store_is_unprivileged(instruction);
		set_address(machine, access, signed_bits(instruction, 20, 12));
	}
	return true;
}

/* LD1 to LD4 and ST1 to ST4, whole registers or one lane: bytes move as elements of at most 16. */
static uint8_t structure_span(uint32_t instruction)
{
	static const uint8_t registers[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3, [7] = 1, [8] = 2, [10] = 2};
	unsigned opcode = (unsigned)bits(instruction, 15, 13);
	unsigned per_lane = ((opcode & 1) << 1 | (unsigned)bits(instruction, 21, 21)) + 1;
	unsigned scale = opcode >> 1;

	if (!bits(instruction, 24, 24)) {
		return (uint8_t)(registers[bits(instruction, 15, 12)] * (8 << bits(instruction, 30, 30)));
	}
	if (scale == 3) {
		scale = (unsigned)bits(instruction, 11, 10); /* LD1R and its like */
	} else if (scale == 2) {
		scale += (unsigned)bits(instruction, 10, 10);
	}
	return (uint8_t)(per_lane << scale);
}

static bool decode_structure(struct machine *machine, uint32_t instruction, struct load_store *access)
{
	access->store = !bits(instruction, 22, 22);
	access->mode = bits(instruction, 23, 23) ? MODE_POST : MODE_NONE;
	access->elements = 0; /* good for the address only: no device is accessed this way */
	access->span = structure_span(instruction);
	set_address(machine, access, 0);
	return true;
}

bool load_store_is_unprivileged(uint32_t instruction)
{
	return (instruction & 0x3f200c00) == 0x38000800; /* LDTR, STTR and their narrow forms */
}

uint32_t load_store_syndrome(const struct load_store *access)
{
	bool simple = access->elements == 1 && !access->vector && !access->exclusive && access->mode == MODE_NONE;
	uint32_t size = access->size == 8 ? 3 : access->size / 2;

	return !simple ? 0
		       : 1u << 24 | size << 22 | (uint32_t)access->sign_extend << 21 | (uint32_t)access->rt << 16 |
				 (uint32_t)access->wide << 15 | (uint32_t)access->ordered << 14;
}

static bool decode(struct machine *machine, uint32_t instruction, uint64_t pc, struct load_store *access)
{
	*access = (struct load_store){
		.vector = bits(instruction, 26, 26),
		.rt = (uint8_t)bits(instruction, 4, 0),
		.rt2 = (uint8_t)bits(instruction, 14, 10),
		.rn = (uint8_t)bits(instruction, 9, 5),
	};
	if ((instruction & 0xffffffe0) == 0xd50b7420) { /* DC ZVA: 64 bytes on Cortex-A72 */
		access->zero_block = true;
		access->store = true;
		access->size = 8;
		access->elements = 8;
		access->address = x_or_zero(machine, access->rt) & ~UINT64_C(63);
		return true;
	}
	if ((instruction & 0xfff80000) == 0xd5080000) { /* other cache maintenance by address */
		access->address = x_or_zero(machine, access->rt);
		return true;
	}
	if ((instruction & 0x3f000000) == 0x08000000) {
		return decode_exclusive(machine, instruction, access);
	}
	if ((instruction & 0xbe000000) == 0x0c000000) {
		return decode_structure(machine, instruction, access);
	}
	switch (bits(instruction, 29, 27)) {
	case 3:
		return !bits(instruction, 24, 24) && decode_literal(instruction, pc, access);
	case 5:
		return decode_pair(machine, instruction, access);
	case 7:
		return decode_single(machine, instruction, access);
	default:
		return false;
	}
}

bool load_store_decode(struct machine *machine, uint32_t instruction, uint64_t pc, struct load_store *access)
{
	bool known = decode(machine, instruction, pc, access);

	access->span = access->elements ? (uint8_t)(access->size * access->elements) : access->span;
	access->far = access->zero_block ? x_or_zero(machine, access->rt) : access->address;
	return known;
}
