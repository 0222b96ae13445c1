/*
 * The state of a machine as bytes that any host understands: whatever is not memory, not a device's Python part, and not
 * how the machine was put together. Included in C and read by cffi, as api.h is.
 */
#ifndef STATE_API_H
#define STATE_API_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

/* How many bytes the state has; with less room than that, what was written is of no use. */
uint64_t state_save(struct machine *machine, uint8_t *bytes, uint64_t capacity);
/* False: these are not the bytes of a machine like this one; its state is of no use then. */
bool state_restore(struct machine *machine, const uint8_t *bytes, uint64_t count);
/* Addresses of pages that may have been written since they were last asked for; at most this many at a time. */
uint64_t state_dirty_pages(struct machine *machine, uint64_t *pages, uint64_t capacity);
/* The medium of a DMA master that may write it; NULL: none. */
uint8_t *state_medium(struct machine *machine, unsigned channel, uint64_t *bytes);

#endif
