/*
 * What a model is likely to read next. Its layers' weights and caches are read in the same order for every token, and are
 * more than the host's caches hold: worker threads without work have them fetched before they are wanted. A guess that is
 * wrong costs time, nothing else.
 */
#ifndef LOOK_AHEAD_H
#define LOOK_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* These bytes of host memory are read now; what was read after them the last time is likely to follow. */
void look_ahead_note(const uint8_t *data, size_t bytes);
/* For idle workers: fetches a piece. False: there is nothing to fetch. */
bool look_ahead(void);

#endif
