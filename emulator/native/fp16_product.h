/*
 * Products of fp16 matrices in the blocking of the RK3588's NPU. A result is one float, zero at first, to which the
 * products are added in ascending order of the columns, each rounded once (a product of two fp16 is exact). So that
 * every processor gives the same bits, all NaNs are 0x7fc00000.
 */
#ifndef FP16_PRODUCT_H
#define FP16_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fp16_product_api.h"

#define FP16_GROUP 16 /* rows of the matrix in a block */
#define FP16_BLOCK 32 /* columns */
#define FP16_ATOM 8   /* columns of a row of features that are neighbours */
#define FP16_SUMS 4   /* rows of the matrix whose sums are neighbours */

struct fp16_product {
	const uint8_t *features;      /* [4 * blocks][count][FP16_ATOM] */
	const uint8_t *const *block;  /* [groups][blocks] blocks of [FP16_GROUP rows][FP16_BLOCK columns] */
	float *sums;                  /* [groups * 4][count][FP16_SUMS] */
	size_t count;                 /* rows of features */
	size_t groups;
	size_t blocks;
};

/* On as many threads as the host has. False: the host has no memory. */
bool fp16_product(const struct fp16_product *product);

/* --- inside --------------------------------------------------------------------------------------------------------- */

/* One source, fp16_product_loops.h, compiled for each kind of processor. */
struct fp16_kind {
	const char *name;
	/* One row of features, as floats. `atoms`: the row's first of `count` to an atom; `blocks`: of its columns. */
	void (*widen_row)(const uint8_t *atoms, size_t count, size_t blocks, float *row);
	/* The sums of one group with all rows of features, which lie row by row: [count][blocks * FP16_BLOCK]. */
	void (*group)(const float *features, size_t count, const uint8_t *const *block, size_t blocks, float *sums);
};

extern const struct fp16_kind fp16_portable;
#if defined(__x86_64__)
extern const struct fp16_kind fp16_avx512;
extern const struct fp16_kind fp16_avx2;
#elif defined(__aarch64__)
extern const struct fp16_kind fp16_neon;
#endif

#endif
