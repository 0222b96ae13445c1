/*
 * Deadlines on CNTPS, the timer that is EL3's alone: of the driver's call, and of recalls while the secure world or the
 * driver runs. What is running is interrupted although it has its own interrupts masked.
 */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stdint.h>

#define NO_DEADLINE UINT64_MAX

/* The secure world runs next: recalls only. */
void deadline_for_secure(void);
/* The driver runs next, until `end` at the latest. */
void deadline_for_driver(uint64_t end);
/* The normal world runs next: it asks for itself. */
void deadline_none(void);
/* Whether a recall's deadline has come that nobody was told of yet; once. */
int deadline_recall_due(void);

#endif
