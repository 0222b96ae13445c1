/* EL3's own translation: 36-bit addresses, identity, W^X, only what the monitor needs. */
#ifndef MMU_H
#define MMU_H

#include "memory_map.h"

/* Builds the tables with the MMU off, then switches it on. */
void mmu_start(const struct dram_layout *layout);

#endif
