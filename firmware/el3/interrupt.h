/* Interrupts that come to EL3 while a lower level runs. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include "context.h"

/* Called by vectors.S with the context that was interrupted, whose x registers and return state are in it. */
void fiq_entry(struct context *interrupted);

#endif
