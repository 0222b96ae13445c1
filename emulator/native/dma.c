/* DMA masters: see dma.h. */
#include <string.h>

#include "machine.h"

void dma_attach(struct machine *machine, unsigned channel, uint32_t stream, uint8_t nsaid)
{
	machine->dma.channel[channel] = (struct dma_channel){.stream = stream, .nsaid = nsaid};
}

void dma_set_medium(struct machine *machine, unsigned channel, uint8_t *data, uint64_t bytes, bool writable)
{
	machine->dma.channel[channel].medium = data;
	machine->dma.channel[channel].medium_bytes = bytes;
	machine->dma.channel[channel].writable = writable;
}

void dma_progress(struct machine *machine, unsigned channel, struct dma_progress *progress)
{
	const struct dma_channel *dma = &machine->dma.channel[channel];

	*progress = (struct dma_progress){.busy = dma->busy, .error = dma->error, .moved = dma->moved};
}

static void end(struct dma_channel *dma, enum dma_error error)
{
	dma->busy = false;
	dma->burst.translated = false;
	dma->error = error;
}

/* The medium ends with a block that is filled up with zeros. */
static uint64_t capacity(const struct dma_channel *dma)
{
	return (dma->medium_bytes + PAGE_SIZE - 1) & PAGE_MASK;
}

static enum dma_error medium_error(const struct dma_channel *dma, uint64_t position, uint64_t bytes)
{
	if (!dma->medium) {
		return DMA_NO_MEDIUM;
	}
	if (position > capacity(dma) || bytes > capacity(dma) - position) {
		return DMA_OUT_OF_RANGE;
	}
	return dma->to_memory || dma->writable ? DMA_NO_ERROR : DMA_READ_ONLY;
}

static enum bus_result to_memory(struct machine *machine, const struct dma_channel *dma, struct master master)
{
	const struct dma_burst *burst = &dma->burst;
	uint8_t data[DMA_BURST_BYTES] = {0};
	uint64_t left = burst->position < dma->medium_bytes ? dma->medium_bytes - burst->position : 0;

	memcpy(data, dma->medium + burst->position, left < burst->bytes ? left : burst->bytes);
	return bus_write(machine, burst->output, master, data, burst->bytes);
}

static enum bus_result from_memory(struct machine *machine, const struct dma_channel *dma, struct master master)
{
	const struct dma_burst *burst = &dma->burst;
	uint8_t data[DMA_BURST_BYTES];
	enum bus_result result = bus_read(machine, burst->output, master, data, burst->bytes);

	if (result == BUS_OK) {
		debug_accessed(machine, burst->output, burst->bytes, false);
		memcpy(dma->medium + burst->position, data, burst->bytes);
	}
	return result;
}

/* Its translation is old; filters and medium are as they are now. */
static void perform(struct machine *machine, struct dma_channel *dma)
{
	const struct dma_burst *burst = &dma->burst;
	struct master master = {.nsaid = dma->nsaid};
	enum dma_error error = medium_error(dma, burst->position, burst->bytes);

	if (error == DMA_NO_ERROR &&
	    (dma->to_memory ? to_memory : from_memory)(machine, dma, master) != BUS_OK) {
		error = DMA_FAULT;
	}
	if (error != DMA_NO_ERROR) {
		end(dma, error);
		return;
	}
	event(machine, EVENT_DMA, dma->stream, burst->input, burst->output, burst->bytes, dma->to_memory);
	dma->moved += burst->bytes;
	dma->burst.translated = false;
	if (dma->remaining == 0) {
		end(dma, DMA_NO_ERROR);
	}
}

static void translate_next(struct machine *machine, struct dma_channel *dma)
{
	struct dma_burst *burst = &dma->burst;
	uint64_t room = DMA_BURST_BYTES - dma->address % DMA_BURST_BYTES;

	*burst = (struct dma_burst){
		.translated = true,
		.bytes = (uint32_t)(dma->remaining < room ? dma->remaining : room),
		.input = dma->address,
		.position = dma->position,
	};
	if (!smmu_translate(machine, dma->stream, burst->input, dma->to_memory, &burst->output)) {
		end(dma, DMA_FAULT);
		return;
	}
	dma->position += burst->bytes;
	dma->address += burst->bytes;
	dma->remaining -= burst->bytes;
}

static void step(struct machine *machine, struct dma_channel *dma)
{
	dma->due += DMA_BURST_INSTRUCTIONS;
	if (dma->burst.translated) {
		perform(machine, dma);
	}
	if (dma->busy) {
		translate_next(machine, dma);
	}
}

void dma_start(struct machine *machine, unsigned channel, uint64_t position, uint64_t address, uint64_t bytes,
	       bool to_memory)
{
	struct dma_channel *dma = &machine->dma.channel[channel];
	enum dma_error error;

	if (dma->busy) {
		return;
	}
	dma->to_memory = to_memory;
	dma->position = position;
	dma->address = address;
	dma->remaining = bytes;
	dma->moved = 0;
	dma->due = core_instructions(machine);
	error = medium_error(dma, position, bytes);
	dma->busy = error == DMA_NO_ERROR && bytes > 0;
	dma->error = error;
	if (dma->busy) {
		step(machine, dma);
	}
}

uint64_t dma_next_due(struct machine *machine)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < DMA_CHANNELS; i++) {
		const struct dma_channel *dma = &machine->dma.channel[i];

		if (dma->busy && dma->due < due) {
			due = dma->due;
		}
	}
	return due;
}

void dma_advance(struct machine *machine)
{
	for (unsigned i = 0; i < DMA_CHANNELS; i++) {
		struct dma_channel *dma = &machine->dma.channel[i];

		while (dma->busy && dma->due <= core_instructions(machine)) {
			step(machine, dma);
		}
	}
}

void dma_drain(struct machine *machine)
{
	for (unsigned i = 0; i < DMA_CHANNELS; i++) {
		struct dma_channel *dma = &machine->dma.channel[i];

		if (dma->busy && dma->burst.translated) {
			perform(machine, dma);
		}
	}
}
