/*
 * Work that is divided among threads of the host. What is computed must not depend on how: the tasks of one call write
 * to memory of their own, so that guests see the same whatever the host has.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <stdint.h>

#include "workers_api.h"

typedef void worker_task(void *context, uint64_t item);

/* Runs task(context, 0 .. items - 1), in any order, and returns when all are done. Tasks may not call it themselves. */
void workers_run(worker_task *task, void *context, uint64_t items);

#endif
