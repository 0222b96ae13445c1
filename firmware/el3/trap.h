/*
 * What comes to EL3 and is no SMC: an access that MDCR_EL3 traps, of AArch64 or of AArch32 EL0 (exception classes 0x03 to
 * 0x06, 0x0C and 0x18). The registers of debug and of the performance monitors, of which there is one set, are the normal
 * world's. They are undefined to the secure world; a driver that touches one ends its call. Nothing that a world executes
 * stops the phone.
 */
#ifndef TRAP_H
#define TRAP_H

#include "context.h"

void trapped(struct context *from);

#endif
