/* Memory as EL3 maps it. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdint.h>

/* The 4 KiB at `address`; a DSB makes it visible to others. */
void zero_page(uint64_t address);

#endif
