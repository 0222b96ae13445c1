/* DMA masters as Python's devices drive them. */
#ifndef DMA_API_H
#define DMA_API_H

enum dma_error {
	DMA_NO_ERROR,
	DMA_FAULT, /* the SMMU or a filter refused an access */
	DMA_NO_MEDIUM,
	DMA_OUT_OF_RANGE,
	DMA_READ_ONLY,
};

struct dma_progress {
	bool busy;
	int error;     /* enum dma_error */
	uint64_t moved; /* bytes */
};

/* A channel is a bus master of its own: its stream at the SMMU, its NSAID at the TZASC. */
void dma_attach(struct machine *machine, unsigned channel, uint32_t stream, uint8_t nsaid);
/* The medium stays the caller's, and must live until another one (or NULL) takes its place. */
void dma_set_medium(struct machine *machine, unsigned channel, uint8_t *data, uint64_t bytes, bool writable);
/* Moves bytes between a place on the medium and an input address of the SMMU. The channel must be idle. */
void dma_start(struct machine *machine, unsigned channel, uint64_t position, uint64_t address, uint64_t bytes,
	       bool to_memory);
void dma_progress(struct machine *machine, unsigned channel, struct dma_progress *progress);

#endif
