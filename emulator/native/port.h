/* A world port: see port.c. */
#ifndef PORT_H
#define PORT_H

#include "machine.h"

struct port {
	struct machine *machine;
	bool normal; /* the world, as SCR_EL3.NS has it */
	int vmid;    /* of the normal world's context that the port belongs to; negative: any */
	struct port_fault fault;
};

/* The host's pointer to at most *bytes bytes from va that lie together; NULL: the abort is recorded in the port. */
uint8_t *port_run(struct port *port, uint64_t va, bool write, uint64_t *bytes);

#endif
