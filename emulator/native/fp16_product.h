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

#endif
