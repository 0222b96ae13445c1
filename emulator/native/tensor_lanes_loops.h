/*
 * The inner loops of tensor_lanes.h; included by each file that compiles them for a kind of processor. Loops over
 * independent elements are left to the compiler; what has an order is written as eight lanes.
 */
#include <math.h>
#include <string.h>

#include "tensor_float.h"
#include "tensor_lanes.h"

#define LANES 8

typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16)));
typedef int32_t eight_integers __attribute__((vector_size(32)));

static inline eight load(const float *source)
{
	eight value;

	memcpy(&value, source, sizeof value);
	return value;
}

static inline void store(float *target, eight value)
{
	memcpy(target, &value, sizeof value);
}

static inline eight all(float value)
{
	return (eight){value, value, value, value, value, value, value, value};
}

static inline four low(eight value)
{
	return __builtin_shufflevector(value, value, 0, 1, 2, 3);
}

static inline four high(eight value)
{
	return __builtin_shufflevector(value, value, 4, 5, 6, 7);
}

/* ((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7)) */
static inline float sum_lanes(eight lane)
{
	const four halves = low(lane) + high(lane);
	const float even = halves[0] + halves[2];
	const float odd = halves[1] + halves[3];

	return even + odd;
}

/* The last, fewer than eight, elements; zeros add nothing, for no partial sum is ever -0. */
static inline eight load_rest(const float *source, size_t count)
{
	eight value = all(0.0f);

	memcpy(&value, source, count * sizeof *source);
	return value;
}

static inline float sum_of_products(const float *a, const float *b, size_t count)
{
	eight lane = all(0.0f);
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		lane += load(a + i) * load(b + i);
	}
	if (i < count) {
		lane += load_rest(a + i, count - i) * load_rest(b + i, count - i);
	}
	return sum_lanes(lane);
}

static inline float sum(const float *a, size_t count)
{
	eight lane = all(0.0f);
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		lane += load(a + i);
	}
	if (i < count) {
		lane += load_rest(a + i, count - i);
	}
	return sum_lanes(lane);
}

static void dequantise(const int32_t *sums, size_t feature_rows, const float *row_scale, size_t rows,
		       const float (*scale)[2], size_t count, float *vectors, size_t stride)
{
	for (size_t row = 0; row < rows; row += 4, sums += 4 * feature_rows) {
		const four w = {row_scale[row], row_scale[row + 1], row_scale[row + 2], row_scale[row + 3]};
		const eight both = __builtin_shufflevector(w, w, 0, 1, 2, 3, 0, 1, 2, 3);

		for (size_t t = 0; t < count; t++) { /* four sums of the coarse plane, then four of the fine one */
			const float c = scale[t][0];
			const float f = scale[t][1];
			const eight planes = {c, c, c, c, f, f, f, f};
			eight_integers integers;
			eight products;
			four result;

			memcpy(&integers, sums + 8 * t, sizeof integers);
			products = __builtin_convertvector(integers, eight) * (planes * both);
			result = low(products) + high(products);
			memcpy(vectors + t * stride + row, &result, sizeof result);
		}
	}
}

/* One plane; where `rest` is asked for, the vector is left holding what rounding took away. */
static inline bool quantise_plane(float *restrict vector, size_t count, float *restrict scale, int8_t *restrict value,
				  bool rest)
{
	uint32_t peak = 0;
	float divisor;

	for (size_t i = 0; i < count; i++) {
		const uint32_t magnitude = bits_of_float(vector[i]) & FLOAT_MAGNITUDE;

		peak = magnitude > peak ? magnitude : peak;
	}
	if (peak >= FLOAT_INFINITY) {
		return false;
	}
	divisor = float_of_bits(peak) / 127.0f;
	*scale = divisor;
	if (divisor == 0.0f) {
		memset(value, 0, count);
		return true;
	}
	for (size_t i = 0; i < count; i++) {
		/* Clamped before rounding, which gives the same and keeps the rounding in its range. */
		float ratio = vector[i] / divisor;

		ratio = ratio > 127.0f ? 127.0f : ratio;
		ratio = ratio < -127.0f ? -127.0f : ratio;
		ratio = round_to_even(ratio);
		value[i] = (int8_t)(int32_t)ratio;
		if (rest) {
			vector[i] = vector[i] - ratio * divisor;
		}
	}
	return true;
}

static bool quantise(float *vector, size_t count, size_t padded, float *scale, int8_t *coarse, int8_t *fine)
{
	memset(coarse + count, 0, padded - count);
	memset(fine + count, 0, padded - count);
	return quantise_plane(vector, count, &scale[0], coarse, true) &&
	       quantise_plane(vector, count, &scale[1], fine, false);
}

static void normalise(const float *vector, const float *gain, size_t count, float epsilon, float *restrict result)
{
	const float mean = sum_of_products(vector, vector, count) / (float)count;
	const float inverse = 1.0f / sqrtf(mean + epsilon);

	for (size_t i = 0; i < count; i++) {
		result[i] = (vector[i] * inverse) * gain[i];
	}
}

static void swiglu(float *restrict gate, const float *restrict up, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const float g = gate[i];
		const float e = exp_nonpositive(g < 0.0f ? g : -g);
		const float sigmoid = (g < 0.0f ? e : 1.0f) / (1.0f + e);

		gate[i] = (g * sigmoid) * up[i];
	}
}

static void add(float *restrict vector, const float *restrict addend, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		vector[i] += addend[i];
	}
}

static void rotate(float *vector, const float *angles, size_t heads, size_t head_width)
{
	const size_t pairs = head_width / 2;
	const float *sine = angles;
	const float *cosine = angles + pairs;

	for (size_t head = 0; head < heads; head++, vector += head_width) {
		for (size_t i = 0; i < pairs; i++) {
			const float x = vector[2 * i];
			const float y = vector[2 * i + 1];

			vector[2 * i] = x * cosine[i] - y * sine[i];
			vector[2 * i + 1] = x * sine[i] + y * cosine[i];
		}
	}
}

#define KEYS 4 /* whose sums are under way together: one alone waits for each of its additions */

static inline void score_keys(const float *query, const float *const *key, size_t head_width, float scale, float *result)
{
	eight lane[KEYS] = {0};

	for (size_t i = 0; i < head_width; i += LANES) {
		const eight q = load(query + i);

		for (size_t k = 0; k < KEYS; k++) {
			lane[k] += q * load(key[k] + i);
		}
	}
	for (size_t k = 0; k < KEYS; k++) {
		result[k] = sum_lanes(lane[k]) * scale;
	}
}

static void score(const float *query, const float *const *key, size_t count, size_t head_width, float scale,
		  float *result)
{
	size_t u = 0;

	for (; head_width % LANES == 0 && u + KEYS <= count; u += KEYS) {
		score_keys(query, key + u, head_width, scale, result + u);
	}
	for (; u < count; u++) {
		result[u] = sum_of_products(query, key[u], head_width) * scale;
	}
}

#define MIXED 8 /* vectors that stay in registers while all values pass */

static inline void mix_block(const float *weight, const float *const *value, size_t count, size_t first, float *mixed)
{
	eight sums[MIXED];

	for (size_t i = 0; i < MIXED; i++) {
		sums[i] = load(mixed + first + LANES * i);
	}
	for (size_t u = 0; u < count; u++) {
		const eight w = all(weight[u]);

		for (size_t i = 0; i < MIXED; i++) {
			sums[i] += w * load(value[u] + first + LANES * i);
		}
	}
	for (size_t i = 0; i < MIXED; i++) {
		store(mixed + first + LANES * i, sums[i]);
	}
}

static void mix(const float *weight, const float *const *value, size_t count, size_t head_width, float *mixed)
{
	size_t done = 0;

	for (; done + MIXED * LANES <= head_width; done += MIXED * LANES) {
		mix_block(weight, value, count, done, mixed);
	}
	for (size_t u = 0; u < count && done < head_width; u++) {
		for (size_t i = done; i < head_width; i++) {
			mixed[i] += weight[u] * value[u][i];
		}
	}
}

static bool weigh(float *score, size_t count, float *total)
{
	float largest = score[0];
	uint32_t peak = 0;

	for (size_t u = 0; u < count; u++) {
		const uint32_t magnitude = bits_of_float(score[u]) & FLOAT_MAGNITUDE;

		peak = magnitude > peak ? magnitude : peak;
		largest = score[u] > largest ? score[u] : largest;
	}
	if (peak >= FLOAT_INFINITY) {
		return false;
	}
	for (size_t u = 0; u < count; u++) {
		score[u] = exp_nonpositive(score[u] - largest);
	}
	*total = sum(score, count);
	return true;
}

typedef int32_t four_integers __attribute__((vector_size(16)));
typedef int8_t four_bytes __attribute__((vector_size(4)));
typedef uint64_t four_words __attribute__((vector_size(32)));
typedef int64_t four_signed_words __attribute__((vector_size(32)));
typedef uint32_t eight_unsigned __attribute__((vector_size(32)));

#define PROJECTED 4 /* pairs of rows whose sums stay in registers while all groups pass */

static inline uint64_t sum_words(four_words words)
{
	return words[0] + words[1] + words[2] + words[3];
}

static inline four_words load_words(const uint64_t *source)
{
	four_words words;

	memcpy(&words, source, sizeof words);
	return words;
}

static inline four_signed_words widened_integers(const int32_t *source)
{
	four_integers values;

	memcpy(&values, source, sizeof values);
	return __builtin_convertvector(values, four_signed_words);
}

static inline four_words widened_bytes(const int8_t *source)
{
	four_bytes values;

	memcpy(&values, source, sizeof values);
	return (four_words)__builtin_convertvector(values, four_signed_words);
}

/* SplitMix64 (Steele, Lea, Flood 2014), whose state after n steps is key + n * gamma, split as struct secrets has it. */
static void make_secrets(uint64_t key, uint64_t first, size_t count, struct secrets *restrict secrets)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t z = key + (first + i + 1) * UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		z ^= z >> 31;
		secrets->low[i] = (int32_t)(uint32_t)z;
		secrets->high[i] = (uint32_t)(z >> 32) + ((uint32_t)z >> 31);
	}
}

/* The upper halves of the secrets count modulo 2^32: eight products at once. */
static inline void project_pairs(const int32_t *sums, size_t groups, size_t count, size_t first, size_t pairs,
				 const struct secrets *secrets, uint64_t *found)
{
	four_words low_part[2 * PROJECTED] = {0};
	eight_unsigned high_part[PROJECTED] = {0};

	for (size_t group = 0; group < groups; group++) {
		const four_signed_words low_half = widened_integers(secrets->low + 4 * group);
		const int32_t *source = sums + 4 * (group * count + first);
		eight_unsigned high_half;

		memcpy(&high_half, secrets->high + 4 * group, 16);
		high_half = __builtin_shufflevector(high_half, high_half, 0, 1, 2, 3, 0, 1, 2, 3);
		for (size_t pair = 0; pair < pairs; pair++, source += 8) {
			eight_unsigned values;

			memcpy(&values, source, sizeof values);
			low_part[2 * pair] += (four_words)(widened_integers(source) * low_half);
			low_part[2 * pair + 1] += (four_words)(widened_integers(source + 4) * low_half);
			high_part[pair] += values * high_half;
		}
	}
	for (size_t row = 0; row < 2 * pairs; row++) {
		const eight_unsigned high_sums = high_part[row / 2];
		const size_t from = row % 2 * 4;
		const uint32_t upper = high_sums[from] + high_sums[from + 1] + high_sums[from + 2] + high_sums[from + 3];

		found[first + row] += sum_words(low_part[row]) + ((uint64_t)upper << 32);
	}
}

static void project_sums(const int32_t *sums, size_t groups, size_t count, const struct secrets *secrets, uint64_t *found)
{
	size_t first = 0;

	for (; first + 2 * PROJECTED <= count; first += 2 * PROJECTED) {
		project_pairs(sums, groups, count, first, PROJECTED, secrets, found);
	}
	for (; first + 2 <= count; first += 2) {
		project_pairs(sums, groups, count, first, 1, secrets, found);
	}
	for (size_t group = 0; first < count && group < groups; group++) {
		for (size_t i = 0; i < 4; i++) {
			const uint64_t value = (uint64_t)(int64_t)sums[4 * (group * count + first) + i];
			const uint64_t upper = secrets->high[4 * group + i];

			found[first] += value * ((uint64_t)(int64_t)secrets->low[4 * group + i] + (upper << 32));
		}
	}
}

static void project_features(const int8_t *features, size_t groups, size_t count, size_t first, size_t end,
			     const uint64_t *factor, uint64_t *found)
{
	for (size_t row = first; row < end; row++) {
		four_words total[4] = {0};

		for (size_t group = 0; group < groups; group++) {
			const int8_t *source = features + 16 * (group * count + row);

			for (size_t i = 0; i < 4; i++) {
				total[i] += widened_bytes(source + 4 * i) * load_words(factor + 16 * group + 4 * i);
			}
		}
		found[row] += sum_words(total[0] + total[1] + (total[2] + total[3]));
	}
}

const struct lanes LANES_TABLE = {
	.name = LANES_NAME,
	.dequantise = dequantise,
	.quantise = quantise,
	.normalise = normalise,
	.swiglu = swiglu,
	.add = add,
	.rotate = rotate,
	.score = score,
	.mix = mix,
	.weigh = weigh,
	.make_secrets = make_secrets,
	.project_sums = project_sums,
	.project_features = project_features,
};
