/* Interrupts that come to EL3 while a lower level runs. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include "context.h"

/* Of the NPU, while it is secure: since interrupt_done one has come, which is active until then. */
int interrupt_noted(void);
/* The secure side has seen to the NPU, or it has changed hands: its next interrupt may come. */
void interrupt_done(void);

/* Called by vectors.S with the context that was interrupted, whose x registers and return state are in it. */
void irq_entry(struct context *interrupted);
void fiq_entry(struct context *interrupted);

#endif
