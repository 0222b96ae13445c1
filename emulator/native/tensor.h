/*
 * Inside the tensor operations: guest memory, the float rules.
 */
#ifndef TENSOR_H
#define TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct port;

#include "tensor_api.h"
#include "tensor_float.h"

#define TENSOR_OK 0

/* The host bytes from `va` on, at most *bytes, and how many lie together. NULL: the port recorded an abort. */
uint8_t *port_run(struct port *port, uint64_t va, bool write, uint64_t *bytes);

/* --- guest memory ------------------------------------------------------------------------------------------------- */

/*
 * A range of guest memory whose pages are all looked up before anything is computed, so that worker threads need no
 * port. Never outlives the operation.
 */
struct view {
	uint8_t **page; /* the host's bytes of each page, the first from where the range begins */
	uint8_t *flat;  /* the whole range in one piece: in place where the pages are neighbours on the host, else a copy or NULL */
	bool copied;
	bool write;
	uint64_t first; /* bytes in the first page */
	uint64_t bytes;
};

/* As the pages lie: TENSOR_OK, TENSOR_ABORT or TENSOR_NO_MEMORY. A view is closed whatever this returns. */
int64_t view_pages(struct view *view, struct port *port, uint64_t address, uint64_t bytes);
/* In one piece. One that is written to holds what the guest had in it. */
int64_t view_flat(struct view *view, struct port *port, uint64_t address, uint64_t bytes, bool write);
/* Gives a written copy back to the guest, if `keep`, and wipes it. */
void view_close(struct view *view, bool keep);
/* `bytes` at `offset`, which may cross pages: in place, or copied to `bounce`. */
const void *view_at(const struct view *view, uint64_t offset, uint64_t bytes, void *bounce);

/* A position in guest memory: what lies together is looked up once. Never outlives the operation. */
struct walk {
	struct port *port;
	bool write;
	uint64_t address;
	uint8_t *host;
	uint64_t left; /* bytes from host on that lie together */
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

static inline bool block_aligned(uint64_t address)
{
	return address % TENSOR_BLOCK == 0;
}

static inline bool within(uint64_t value, uint64_t limit)
{
	return value >= 1 && value <= limit;
}

/* --- arithmetic ------------------------------------------------------------------------------------------------ */

enum plane { COARSE, FINE, PLANES };

/* --- layouts, as tensor_api.h says; in bytes --- */

#define BLOCK_ROWS 32    /* and columns, of a block of weights; sizes are padded to it */
#define FEATURE_ATOM 16  /* columns of a row of features that are neighbours */
#define SUM_ATOM 4       /* rows of the matrix whose sums are neighbours */

static inline uint64_t padded(uint64_t count)
{
	return (count + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS;
}

static inline uint64_t scales_bytes(uint64_t count)
{
	return (4 * count + TENSOR_BLOCK - 1) / TENSOR_BLOCK * TENSOR_BLOCK;
}

static inline uint64_t features_bytes(uint64_t columns, uint64_t feature_rows)
{
	return padded(columns) * feature_rows;
}

static inline uint64_t activation_bytes(uint64_t columns, uint64_t count)
{
	return scales_bytes(PLANES * count) + features_bytes(columns, PLANES * count);
}

static inline uint64_t sums_bytes(uint64_t rows, uint64_t feature_rows)
{
	return 4 * padded(rows) * feature_rows;
}

static inline bool matrix_fits(uint64_t matrix, uint64_t rows, uint64_t columns)
{
	return block_aligned(matrix) && within(rows, TENSOR_MAX_ROWS) && within(columns, TENSOR_MAX_WIDTH);
}

/* --- many tokens ------------------------------------------------------------------------------------------------- */

#define TILE 8 /* tokens that are taken through a loop together: their sums share cache lines */

/* What the tasks of one operation have come to: a failure stays. */
struct outcome {
	_Atomic int64_t status;
};

static inline void outcome_note(struct outcome *outcome, int64_t status)
{
	if (status != TENSOR_OK) {
		outcome->status = status;
	}
}

/* The sums of a matrix and what they are to be multiplied with; in host memory, made of views. */
struct products {
	struct view row_scales;
	struct view scales; /* of the activation, PLANES a token */
	struct view sums;
	uint64_t rows;
	uint64_t count; /* tokens */
};

int64_t products_open(struct products *products, struct port *port, uint64_t matrix, uint64_t activation,
		      uint64_t sums, uint64_t rows, uint64_t count);
void products_close(struct products *products);
/* Section 3 for tokens [first, first + count): vectors[t * stride + row], where stride is at least padded(rows). */
void products_dequantise(const struct products *products, uint64_t first, uint64_t count, float *vectors,
			 uint64_t stride);

/* An activation to be written. */
struct activation {
	struct view view;
	uint64_t columns;
	uint64_t count;
};

int64_t activation_open(struct activation *activation, struct port *port, uint64_t address, uint64_t columns,
			uint64_t count);
void activation_close(struct activation *activation, bool keep);
/* Quantises tokens [first, first + count), count up to TILE, and uses the vectors up. */
int64_t activation_write(struct activation *activation, uint64_t first, uint64_t count, float *vectors,
			 uint64_t stride);

/* Scratch memory of `count` floats, aligned to 64 bytes: NULL if there is none. */
float *scratch_floats(uint64_t count);
/* Wipes and frees it; NULL is fine. */
void scratch_free(float *scratch, uint64_t count);

/* Section 5: sine and cosine of a whole turn's fraction angle / 2^64. */
void sine_cosine(uint64_t angle, float *sine, float *cosine);

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
