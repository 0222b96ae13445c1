/*
 * Products of int8 matrices in the blocking of the RK3588's NPU, exact modulo 2^32: sums have no order, so the vectors
 * of any processor give the same bits.
 */
#ifndef INT8_PRODUCT_H
#define INT8_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "int8_product_api.h"

#define INT8_GROUP 32                      /* rows of the matrix in a block, and columns */
#define INT8_ATOM 16                       /* columns of a row of features that are neighbours */
#define INT8_BLOCK (INT8_GROUP * INT8_GROUP) /* bytes */
#define INT8_SUMS 4                        /* rows of the matrix whose sums are neighbours */

struct int8_product {
	const int8_t *features;      /* [2 * blocks][count][INT8_ATOM] */
	const int8_t *const *block;  /* [groups][blocks] blocks of [INT8_GROUP rows][INT8_GROUP columns] */
	int32_t *sums;               /* [groups * 8][count][INT8_SUMS] */
	size_t count;                /* rows of features */
	size_t groups;
	size_t blocks;
};

/* On as many threads as the host has. False: the host has no memory. */
bool int8_product(const struct int8_product *product);

/* --- inside --------------------------------------------------------------------------------------------------------- */

/*
 * The sums of one group with all rows of features, which lie row by row: [count][blocks * INT8_GROUP]. `next`: the
 * blocks of the group after it, which may be wanted soon, or NULL.
 */
typedef void int8_group(const uint8_t *features, size_t count, const int8_t *const *block, size_t blocks,
			const int8_t *const *next, int32_t *sums);

struct int8_kind {
	const char *name;
	uint8_t bias; /* that the kernel wants its features to be exclusive-ored with */
	int8_group *group;
};

extern const struct int8_kind int8_portable;
#if defined(__x86_64__)
extern const struct int8_kind int8_vnni;
extern const struct int8_kind int8_avx2;
#elif defined(__aarch64__)
extern const struct int8_kind int8_neon;
extern const struct int8_kind int8_dot;
#endif

#endif
