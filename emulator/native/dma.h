/*
 * DMA masters. A transfer moves in bursts within a page. A master holds at most one burst that is translated and not
 * yet performed: at every step it performs that one, with the filters as they are at that instant, and translates the
 * next. So DMA that was allowed when it began can land after the tables have changed, unless CMD_SYNC drains it.
 */
#ifndef DMA_H
#define DMA_H

#include <stdbool.h>
#include <stdint.h>

#include "dma_api.h"

#define DMA_CHANNELS 4
#define DMA_BURST_BYTES 4096
#define DMA_BURST_INSTRUCTIONS 2048 /* guest time from one step to the next */

struct dma_burst {
	bool translated;
	uint32_t bytes;
	uint64_t input;
	uint64_t output;
	uint64_t position;
};

struct dma_channel {
	uint32_t stream;
	uint8_t nsaid;
	uint8_t *medium;
	uint64_t medium_bytes;
	bool writable;
	bool busy;
	bool to_memory;
	uint64_t due;
	uint64_t position;  /* of what is not translated yet: on the medium, */
	uint64_t address;   /* at the SMMU's input, */
	uint64_t remaining; /* and how much */
	uint64_t moved;
	enum dma_error error;
	struct dma_burst burst;
};

struct dma {
	struct dma_channel channel[DMA_CHANNELS];
};

/* Guest time of the next step; UINT64_MAX: none. */
uint64_t dma_next_due(struct machine *machine);
/* Takes every step that is due. */
void dma_advance(struct machine *machine);
/* Performs what is translated (CMD_SYNC). */
void dma_drain(struct machine *machine);

#endif
