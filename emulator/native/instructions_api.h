/*
 * What the core executes, instruction by instruction. Included in C and read by cffi, as api.h is. Nothing here changes
 * what the guest does or when; nothing costs anything unless it was asked for.
 */
#ifndef INSTRUCTIONS_API_H
#define INSTRUCTIONS_API_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

/* One instruction, with the registers as it found them. */
struct instruction {
	uint64_t time;      /* guest time before it */
	uint64_t pc;
	uint64_t physical;  /* where it was fetched from */
	uint64_t x[32];     /* x0-x30, SP */
	uint32_t opcode;
	uint32_t pstate;
	bool normal;        /* SCR_EL3.NS */
	bool completed;     /* it took no exception */
	bool store;
	uint8_t elements;   /* that it loaded or stored, in memory; 0: none that we know */
	uint8_t size;       /* bytes of each */
	uint64_t address;   /* of the first one, virtual */
	uint64_t target;    /* the same, physical */
	uint8_t data[64];   /* what memory held afterwards */
};

/*
 * From now on record instructions at these levels (a bit each) from guest time `first` to before `end`. core_run stops
 * with STOP_EVENTS when the buffer is full.
 */
bool instructions_record(struct machine *machine, unsigned levels, uint64_t first, uint64_t end);
uint64_t instructions_drain(struct machine *machine, struct instruction *instructions, uint64_t capacity);
/* From now on count how often each instruction in this range begins: how many ranges there are, 0: no more room. */
unsigned instructions_count(struct machine *machine, uint64_t base, uint64_t bytes);
/* The counts of a range (1 and up, as instructions_count numbers them), one for every four bytes. */
const uint64_t *instructions_counts(struct machine *machine, unsigned range);

#endif
