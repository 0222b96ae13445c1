/*
 * Inside the tensor operations: the walk through guest pages, the dot product, the float rules.
 */
#ifndef TENSOR_H
#define TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct port;

#include "tensor_api.h"

#define TENSOR_OK 0

/* The host bytes from `va` to the end of its page, their number in *bytes. NULL: the port recorded an abort. */
uint8_t *port_run(struct port *port, uint64_t va, bool write, uint64_t *bytes);

/* --- guest memory ------------------------------------------------------------------------------------------------- */

/* A position in guest memory: the page that it lies in is looked up once. Never outlives the operation. */
struct walk {
	struct port *port;
	bool write;
	uint64_t address;
	uint8_t *host;
	uint64_t left; /* bytes from host to the end of the page */
};

static inline struct walk walk_reading(struct port *port, uint64_t address)
{
	return (struct walk){.port = port, .address = address};
}

static inline struct walk walk_writing(struct port *port, uint64_t address)
{
	return (struct walk){.port = port, .address = address, .write = true};
}

/* The next bytes, at most `wanted`, contiguous on the host; moves past them. NULL: abort. */
uint8_t *walk_next(struct walk *walk, uint64_t wanted, uint64_t *bytes);
/* Exactly `bytes` at `address`: in place when a page holds them all, else copied to `bounce`. NULL: abort. */
const uint8_t *walk_view(struct walk *walk, uint64_t address, uint64_t bytes, uint8_t *bounce);
bool guest_read(struct port *port, uint64_t address, void *data, uint64_t bytes);
bool guest_write(struct port *port, uint64_t address, const void *data, uint64_t bytes);
/* Wipes scratch memory that held guest data; the compiler may not drop it. */
void scratch_clear(void *data, size_t bytes);

static inline bool aligned(uint64_t address)
{
	return address % 4 == 0;
}

static inline bool within(uint64_t value, uint64_t limit)
{
	return value >= 1 && value <= limit;
}

/* --- arithmetic ------------------------------------------------------------------------------------------------ */

enum plane { COARSE, FINE, PLANES };

/* A quantised vector of n values as it lies in guest memory: the first QUANTISED_BYTES(n), each plane n long. */
struct quantised {
	float scale[PLANES];
	int8_t value[PLANES * TENSOR_MAX_WIDTH];
};

#define QUANTISED_BYTES(count) (PLANES * (4 + (count)))

/* Adds the products of a row with both planes to total[PLANES]. */
void tensor_dot(const int8_t *row, const int8_t *coarse, const int8_t *fine, size_t count, int32_t *total);
/* Section 1; the vector is used up. False: not finite. */
bool quantise(float *vector, size_t count, struct quantised *result);
/* Section 3: eight partial sums, then a tree. */
float sum_of_products(const float *a, const float *b, size_t count);
float sum(const float *a, size_t count);
/* Section 4: e^x for x <= 0. */
float exp_nonpositive(float x);
/* Section 5: sine and cosine of a whole turn's fraction angle / 2^64. */
void sine_cosine(uint64_t angle, float *sine, float *cosine);

static inline float float_of_bits(uint64_t bits)
{
	const uint32_t low = (uint32_t)bits;
	float value;

	memcpy(&value, &low, sizeof value);
	return value;
}

static inline bool is_finite(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof bits);
	return (bits & 0x7f800000) != 0x7f800000;
}

/* --- float mode ------------------------------------------------------------------------------------------------- */

/*
 * Some shared libraries (anything linked with -ffast-math) switch the whole process to flush subnormals to zero when
 * they are loaded. Every operation therefore runs in the mode that docs/arithmetic.md asks for and gives the old one
 * back.
 */
struct float_mode {
	uint64_t control;
};

struct float_mode float_mode_standard(void);
void float_mode_restore(struct float_mode *mode);

#define STANDARD_FLOAT_MODE                                                                                            \
	__attribute__((cleanup(float_mode_restore), unused)) struct float_mode float_mode = float_mode_standard()

#endif
