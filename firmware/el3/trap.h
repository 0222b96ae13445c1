/*
 * What MDCR_EL3 traps: the registers of debug and of the performance monitors, of which there is one set, are the normal
 * world's. They are undefined to the secure world; a driver that touches one ends its call.
 */
#ifndef TRAP_H
#define TRAP_H

#include "context.h"

void trapped_register(struct context *from);

#endif
