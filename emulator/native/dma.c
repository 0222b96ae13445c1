#include "machine.h"
uint64_t dma_next_due(struct machine *machine) { (void)machine; return UINT64_MAX; }
void dma_advance(struct machine *machine) { (void)machine; }
