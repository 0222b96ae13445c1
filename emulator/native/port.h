/* A world port: see port.c. */
#ifndef PORT_H
#define PORT_H

#include "machine.h"

#define PORT_RANGES 1024 /* a power of two */

/* How far the pages from an address on go together. */
struct port_range {
	struct tlb_found found;
	uint64_t address;
	uint64_t physical;
	uint64_t asked;
	uint64_t bytes; /* 0: nothing is remembered */
	bool write;
};

struct port {
	struct machine *machine;
	bool normal; /* the world, as SCR_EL3.NS has it */
	int vmid;    /* of the normal world's context that the port belongs to; negative: any */
	struct port_fault fault;
	struct translation_registers registers; /* with which the ranges were found, */
	uint64_t restores;                      /* and since when */
	struct port_range range[PORT_RANGES];
};

/* The host's pointer to at most *bytes bytes from va that lie together; NULL: the abort is recorded in the port. */
uint8_t *port_run(struct port *port, uint64_t va, bool write, uint64_t *bytes);

#endif
