/* TZC-400 TZASC: who may reach which part of DRAM. */
#ifndef TZC_H
#define TZC_H

#include "memory_map.h"

void tzc_start(const struct dram_layout *layout);

#endif
