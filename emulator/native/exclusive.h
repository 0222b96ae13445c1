/* The exclusive monitor: what LDXR claimed, which the engine shows nobody. */
#ifndef EXCLUSIVE_H
#define EXCLUSIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <unicorn/unicorn.h>

#define EXCLUSIVE_WORDS 3

struct exclusive {
	uint64_t word[EXCLUSIVE_WORDS]; /* address (all ones: no claim), value, upper half of a pair's */
};

/* False: the engine keeps it where we do not find it. */
bool exclusive_read(uc_engine *engine, struct exclusive *exclusive);
bool exclusive_write(uc_engine *engine, const struct exclusive *exclusive);

#endif
