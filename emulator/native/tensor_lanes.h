/*
 * The inner loops of the tensor operations on plain host memory. One source, tensor_lanes_loops.h, compiled once for every
 * processor and once for wider vectors; sums have the order of docs/arithmetic.md, so both give the same bits.
 */
#ifndef TENSOR_LANES_H
#define TENSOR_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_SECRETS 1024

/* The secret numbers of rows: low + high * 2^32 each, modulo 2^64. */
struct secrets {
	int32_t low[MOST_SECRETS];
	uint32_t high[MOST_SECRETS];
};

struct lanes {
	const char *name;
	/*
	 * Section 3, the scales' part: vectors[t * stride + r] for `rows` rows (rounded up to 4) and `count` tokens.
	 * `sums` is the first token's; `feature_rows` those of the whole array; scale[t] is that of both planes.
	 */
	void (*dequantise)(const int32_t *sums, size_t feature_rows, const float *row_scale, size_t rows,
			   const float (*scale)[2], size_t count, float *vectors, size_t stride);
	/* Section 1: two planes, each of `padded` values. The vector is used up. False: not finite. */
	bool (*quantise)(float *vector, size_t count, size_t padded, float *scale, int8_t *coarse, int8_t *fine);
	/* Section 4. */
	void (*normalise)(const float *vector, const float *gain, size_t count, float epsilon, float *result);
	/* Section 7: gate = swiglu(gate, up). */
	void (*swiglu)(float *gate, const float *up, size_t count);
	void (*add)(float *vector, const float *addend, size_t count);
	/* Section 5: turns `heads` heads; sines, then cosines, of half the head width each. */
	void (*rotate)(float *vector, const float *angles, size_t heads, size_t head_width);
	/* Section 6: score[u] = (query . key[u]) * scale; mixed += weight[u] * value[u], in ascending order. */
	void (*score)(const float *query, const float *const *key, size_t count, size_t head_width, float scale,
		      float *score);
	void (*mix)(const float *weight, const float *const *value, size_t count, size_t head_width, float *mixed);
	/* Scores become weights; their sum in *total. False: a score is not finite. */
	bool (*weigh)(float *score, size_t count, float *total);
	/* Those of `count` rows from number `first` on, a multiple of four. */
	void (*make_secrets)(uint64_t key, uint64_t first, size_t count, struct secrets *secrets);
	/*
	 * Modulo 2^64, for product_check.c: found[m] += the dot product of a row's values with the secrets, or with
	 * `factor`. Of sums [groups][count][4], and of rows first to end of features [groups][count][16]; m counts within
	 * `count`.
	 */
	void (*project_sums)(const int32_t *sums, size_t groups, size_t count, const struct secrets *secrets,
			     uint64_t *found);
	void (*project_features)(const int8_t *features, size_t groups, size_t count, size_t first, size_t end,
				 const uint64_t *factor, uint64_t *found);
};

extern const struct lanes lanes_portable;
#if defined(__x86_64__)
extern const struct lanes lanes_avx2;
#endif

/* The widest that the processor has. */
const struct lanes *lanes(void);

#endif
