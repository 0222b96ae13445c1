/* What the core executes, among the core's parts. */
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "instructions_api.h"

#define MAX_COUNTED_RANGES 8

struct counted_range {
	uint64_t base;
	uint64_t *counts;
};

struct instructions {
	unsigned levels;
	uint64_t first;
	uint64_t end;
	struct instruction *buffer;
	uint64_t used;
	bool pending;        /* buffer[used] is being executed */
	struct counted_range range[MAX_COUNTED_RANGES];
	unsigned ranges;
};

struct machine;

bool instructions_full(const struct machine *machine);
void instructions_release(struct machine *machine);

#endif
