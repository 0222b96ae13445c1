/*
 * Guest memory as the tensor operations see it: runs of bytes.
 */
#include "tensor.h"

#define PAGE 4096u

uint8_t *walk_next(struct walk *walk, uint64_t wanted, uint64_t *bytes)
{
	uint8_t *host;

	if (walk->left == 0) {
		const uint64_t rest = PAGE - walk->address % PAGE;

		walk->left = wanted > rest ? wanted : rest; /* the next ones are likely to be wanted as well */
		walk->host = port_run(walk->port, walk->address, walk->write, &walk->left);
		if (walk->host == NULL) {
			walk->left = 0;
			return NULL;
		}
	}
	*bytes = wanted < walk->left ? wanted : walk->left;
	host = walk->host;
	walk->host += *bytes;
	walk->left -= *bytes;
	walk->address += *bytes;
	return host;
}

static bool walk_copy(struct walk *walk, uint8_t *data, uint64_t bytes)
{
	uint64_t run;

	for (; bytes != 0; bytes -= run, data += run) {
		uint8_t *host = walk_next(walk, bytes, &run);

		if (host == NULL) {
			return false;
		}
		if (walk->write) {
			memcpy(host, data, run);
		} else {
			memcpy(data, host, run);
		}
	}
	return true;
}

static void walk_seek(struct walk *walk, uint64_t address)
{
	const uint64_t forward = address - walk->address;

	if (forward < walk->left) { /* also false for a step back, which wraps to a large number */
		walk->host += forward;
		walk->left -= forward;
	} else {
		walk->left = 0;
	}
	walk->address = address;
}

const uint8_t *walk_view(struct walk *walk, uint64_t address, uint64_t bytes, uint8_t *bounce)
{
	walk_seek(walk, address);
	if (bytes <= walk->left) {
		uint64_t run;

		return walk_next(walk, bytes, &run);
	}
	return walk_copy(walk, bounce, bytes) ? bounce : NULL;
}

bool guest_read(struct port *port, uint64_t address, void *data, uint64_t bytes)
{
	struct walk walk = walk_reading(port, address);

	return walk_copy(&walk, data, bytes);
}

bool guest_write(struct port *port, uint64_t address, const void *data, uint64_t bytes)
{
	struct walk walk = walk_writing(port, address);

	return walk_copy(&walk, (uint8_t *)data, bytes); /* only read from: the walk writes to the guest */
}

void scratch_clear(void *data, size_t bytes)
{
	memset(data, 0, bytes);
	__asm__ volatile("" : : "r"(data) : "memory");
}
