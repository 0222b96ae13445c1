/*
 * Interrupted threads. A normal interrupt or a deadline in the secure world or the driver context gives the core back to
 * the normal world, which goes on with the thread by SECURE_RESUME(0). Two can wait: an ordinary one, and on top of it an
 * entry made at the revocation entry while the first was waiting.
 */
#ifndef PREEMPT_H
#define PREEMPT_H

#include "context.h"

/* Leaves `interrupted`, which is not the normal world's: its SECURE_CALL or SECURE_RESUME answers PREEMPTED. */
void preempt(struct context *interrupted);
/* Whether a thread waits. */
int preempt_waiting(void);
/* Whether the one on top is the revocation handler's. */
int preempt_waiting_handler(void);
/* Goes on with the one on top. */
void preempt_resume(void);
/* Makes room for an entry at the revocation entry; the thread that waits is found again when the handler leaves. */
void preempt_begin_handler(void);
/* The secure world has left by a call: if a handler has, what waits below it is on top again. */
void preempt_end_handler(void);
/* Whether the entry under way is a handler's, above a thread that waits. */
int preempt_in_handler(void);

#endif
