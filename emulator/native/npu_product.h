/* Matrix products in the NPU's layouts. */
#ifndef NPU_PRODUCT_H
#define NPU_PRODUCT_H

#include <stdint.h>

/* Features [rows] x [channels] times weights [kernels] x [channels]; channels come in blocks of 32. */
struct npu_product {
	const uint8_t *features;       /* int8 [channels/16][count][16], fp16 [channels/8][count][8] */
	const uint8_t *const *weights; /* groups * blocks pointers: int8 [32 kernels][32 channels], fp16 [16][32] */
	void *sums;                    /* int32 or float [kernels/4][count][4] */
	uint32_t count;                /* rows of the features */
	uint32_t groups;               /* of kernels */
	uint32_t blocks;               /* of channels */
};

void npu_product_int8(const struct npu_product *product);
/* One float a result, to which the products are added in ascending order of the channels. */
void npu_product_fp16(const struct npu_product *product);

#endif
