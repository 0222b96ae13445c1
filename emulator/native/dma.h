/* DMA masters. Written by DEVICES; placeholder until then. */
#ifndef DMA_H
#define DMA_H
struct dma {
	uint64_t next_due;
};
uint64_t dma_next_due(struct machine *machine);
void dma_advance(struct machine *machine);
#endif
