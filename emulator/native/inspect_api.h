/*
 * What the hardware holds at this instant, past every filter, for whoever judges it from outside. Looking changes nothing.
 * Structures have no gaps, so that two looks are the same if their bytes are.
 */
#ifndef INSPECT_API_H
#define INSPECT_API_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

struct inspect_register {
	uint8_t op0, op1, crn, crm, op2;
};

struct inspect_range {
	uint64_t address;
	uint64_t bytes;
};

/* An entry that a look-up could still find and use. */
struct inspect_entry {
	uint64_t address;     /* input: VA or IPA, aligned to the entry's size */
	uint64_t output;
	uint16_t vmid;
	uint16_t asid;
	uint8_t regime;       /* enum regime */
	uint8_t kind;         /* enum tlb_kind */
	uint8_t shift;        /* log2 of its size */
	uint8_t level;
	uint8_t permissions;  /* read 1, write 2, execute 4; of stage 1 of EL1&0 EL0's are in bits 5:3 */
	uint8_t attributes;
	uint8_t shareability;
	uint8_t is_global;
	uint8_t non_secure;
	uint8_t zero[3];
};

enum inspected_tlb { INSPECT_CORE_TLB, INSPECT_SMMU_TLB };

/* struct tzasc_region without gaps. */
struct inspect_region {
	uint64_t base;
	uint64_t top; /* inclusive */
	uint16_t normal_read; /* a bit per NSAID */
	uint16_t normal_write;
	uint8_t enabled;
	uint8_t secure_read;
	uint8_t secure_write;
	uint8_t zero;
};

struct inspect_filters {
	struct inspect_region region[9];
	uint64_t normal_devices; /* as tzpc_set gets them */
	uint32_t secure_sram_pages;
	uint8_t gate_open;
	uint8_t bus_error;
	uint8_t zero[2];
};

/* A stream table entry as the SMMU has fetched it. */
struct inspect_stream {
	uint64_t stream;
	uint64_t word[4];
};

/* Bytes of a DMA master's that are translated and not moved yet. */
struct inspect_transfer {
	uint64_t output;
	uint32_t bytes;
	uint16_t stream;
	uint16_t write;
};

struct inspect_interrupts {
	uint32_t distributor_control; /* GICD_CTLR, and so on: of the secure view */
	uint32_t control;
	uint32_t priority_mask;
	uint32_t binary_point;
	uint32_t active_priorities[4]; /* of Group 0 */
	uint8_t group1[288];
	uint8_t enabled[288];
	uint8_t active[288];
	uint8_t priority[288];
};

/* A bit for each core of the NPU. */
struct inspect_npu {
	uint32_t power;
	uint32_t clock;
	uint32_t busy;
	uint32_t used; /* registers or buffers are not as out of reset */
};

void inspect_registers(struct machine *machine, const struct inspect_register *registers, unsigned count, uint64_t *values);
/* SP_EL3 (while the core is at EL3, what it was when that was entered), and what of PMCR_EL0 can be written. */
void inspect_other_registers(struct machine *machine, uint64_t values[2]);
/* Copies the ranges one behind the other. False: one of them is not memory. */
bool inspect_memory(struct machine *machine, const struct inspect_range *ranges, unsigned count, uint8_t *data);
/* Whether the ranges still hold what was copied. */
bool inspect_memory_is(struct machine *machine, const struct inspect_range *ranges, unsigned count, const uint8_t *data);
/* How many entries a TLB has, and the first `capacity` of them. */
uint64_t inspect_tlb(struct machine *machine, enum inspected_tlb which, struct inspect_entry *entries, uint64_t capacity);
/* Another number whenever the TLB may hold other entries than before. */
uint64_t inspect_tlb_version(struct machine *machine, enum inspected_tlb which);
void inspect_filters(struct machine *machine, struct inspect_filters *filters);
/* As for a TLB, of what the SMMU has cached of its stream table. */
uint64_t inspect_streams(struct machine *machine, struct inspect_stream *streams, uint64_t capacity);
/* As for a TLB, of every DMA master. */
uint64_t inspect_transfers(struct machine *machine, struct inspect_transfer *transfers, uint64_t capacity);
void inspect_interrupts(struct machine *machine, struct inspect_interrupts *interrupts);
void inspect_npu(struct machine *machine, struct inspect_npu *npu);

#endif
