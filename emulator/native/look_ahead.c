/* Guesses by what came next the last time: see look_ahead.h. Pointers may be stale; fetching ahead reads nothing. */
#include "look_ahead.h"

#include <stdatomic.h>

#define READS 4096           /* that are remembered, a power of two */
#define PIECE ((size_t)4096) /* bytes that are fetched at once */
#define PIECES_OF_A_READ 256
#define FAR 5120            /* pieces: 20 MiB, what a last-level cache has to spare */
#define LINE 64

static struct {
	struct {
		_Atomic(const uint8_t *) data;
		_Atomic size_t bytes;
	} read[READS];
	size_t last[READS]; /* by a hash of `data`: one more than the number of the read that was it */
	size_t reads;
	_Atomic size_t expected; /* number of the read that is to follow */
	_Atomic size_t piece;    /* from there on; FAR: all are fetched */
} history = {.piece = FAR};

static size_t slot_of(const uint8_t *data)
{
	return ((uintptr_t)data / PIECE * UINT64_C(0x9e3779b97f4a7c15) >> 32) % READS;
}

void look_ahead_note(const uint8_t *data, size_t bytes)
{
	const size_t before = history.last[slot_of(data)];
	const size_t now = history.reads++;

	history.last[slot_of(data)] = now + 1;
	history.read[now % READS].data = data;
	history.read[now % READS].bytes = bytes;
	if (before && now - before < READS - 1 && history.read[(before - 1) % READS].data == data) {
		history.expected = before;
		history.piece = 0;
	}
}

bool look_ahead(void)
{
	const size_t piece = history.piece < FAR ? atomic_fetch_add(&history.piece, 1) : FAR;
	const size_t read = (history.expected + piece / PIECES_OF_A_READ) % READS;
	const size_t offset = piece % PIECES_OF_A_READ * PIECE;
	const size_t bytes = history.read[read].bytes;

	if (piece >= FAR) {
		return false;
	}
	for (size_t at = offset; at < bytes && at < offset + PIECE; at += LINE) {
		__builtin_prefetch(history.read[read].data + at, 0, 2);
	}
	return true;
}
