/*
 * The choice of a token from the logits. Sampling turns logits into integer weights, so that sums have no order.
 */
#include "tensor.h"

#include <math.h>

#define WEIGHT_BITS 28
#define WEIGHT_ONE ((float)(1 << WEIGHT_BITS)) /* the weight of the largest logit */
#define TOP_P_ONE 65536

/* A walk over the array, four bytes at a time; addresses are aligned, so an element never crosses pages. */
struct array {
	uint64_t address;
	uint64_t count;
};

static uint8_t *element(struct walk *walk)
{
	uint64_t run;

	return walk_next(walk, 4, &run);
}

/* The largest of some logits; false: one is not finite. */
static bool largest_of(const float *logit, uint64_t count, float *largest)
{
	uint32_t peak = 0;

	for (uint64_t i = 0; i < count; i++) {
		const uint32_t magnitude = bits_of_float(logit[i]) & FLOAT_MAGNITUDE;

		peak = magnitude > peak ? magnitude : peak;
		*largest = logit[i] > *largest ? logit[i] : *largest;
	}
	return peak < FLOAT_INFINITY;
}

/* The first of the largest. */
static int64_t largest_logit(struct port *port, struct array logits, float *largest)
{
	struct walk walk = walk_reading(port, logits.address);
	int64_t index = 0;
	uint64_t run;

	*largest = -HUGE_VALF;
	for (uint64_t first = 0; first < logits.count; first += run / 4) {
		const float *logit = (const float *)(const void *)walk_next(&walk, 4 * (logits.count - first), &run);
		float before = *largest;

		if (logit == NULL) {
			return TENSOR_ABORT;
		}
		if (!largest_of(logit, run / 4, largest)) {
			return TENSOR_NOT_FINITE;
		}
		for (uint64_t i = 0; *largest > before && i < run / 4; i++) {
			if (logit[i] == *largest) {
				index = (int64_t)(first + i);
				before = *largest;
			}
		}
	}
	return index;
}

int64_t tensor_argmax(struct port *port, uint64_t logits, uint64_t count)
{
	float largest = 0.0f;

	STANDARD_FLOAT_MODE;
	if (!aligned(logits) || !within(count, TENSOR_MAX_ROWS)) {
		return TENSOR_INVALID;
	}
	return largest_logit(port, (struct array){logits, count}, &largest);
}

/* Overwrites every logit by its integer weight; *total is their sum. */
static bool weigh(struct port *port, struct array logits, float largest, float temperature, uint64_t *total)
{
	struct walk walk = walk_writing(port, logits.address);

	*total = 0;
	for (uint64_t i = 0; i < logits.count; i++) {
		uint8_t *place = element(&walk);
		uint32_t weight;
		float logit;

		if (place == NULL) {
			return false;
		}
		memcpy(&logit, place, 4);
		weight = (uint32_t)(exp_nonpositive((logit - largest) / temperature) * WEIGHT_ONE);
		memcpy(place, &weight, 4);
		*total += weight;
	}
	return true;
}

/* The nucleus: every weight above `least`, and as many of those equal to it, in order of index, as `equal` says. */
struct nucleus {
	uint32_t least;
	uint64_t equal;
	uint64_t total;
};

#define DIGIT_BITS 10
#define DIGITS (1 << DIGIT_BITS)

/* The masses of the weights that begin with the bits of `least` above the digit, by the value of the digit. */
static bool masses_by_digit(struct port *port, struct array weights, uint32_t least, unsigned shift, uint64_t *mass)
{
	struct walk walk = walk_reading(port, weights.address);

	memset(mass, 0, DIGITS * sizeof *mass);
	for (uint64_t i = 0; i < weights.count; i++) {
		const uint8_t *source = element(&walk);
		uint32_t weight;

		if (source == NULL) {
			return false;
		}
		memcpy(&weight, source, 4);
		if (((weight ^ least) >> shift >> DIGIT_BITS) == 0) {
			mass[weight >> shift & (DIGITS - 1)] += weight;
		}
	}
	return true;
}

/* Finds the largest `least` such that the weights from it on reach `need`, a digit at a time. */
static int64_t find_nucleus(struct port *port, struct array weights, uint64_t need, struct nucleus *nucleus)
{
	uint64_t mass[DIGITS];
	uint64_t above = 0; /* the mass of the weights known to be larger */
	bool done = true;

	nucleus->least = 0;
	for (int shift = 2 * DIGIT_BITS; shift >= 0 && done; shift -= DIGIT_BITS) {
		uint32_t digit = DIGITS - 1;

		done = masses_by_digit(port, weights, nucleus->least, (unsigned)shift, mass);
		while (done && digit > 0 && above + mass[digit] < need) {
			above += mass[digit--];
		}
		nucleus->least |= digit << shift;
	}
	scratch_clear(mass, sizeof mass);
	if (!done) {
		return TENSOR_ABORT;
	}
	if (nucleus->least == 0) { /* only if two addresses of the array lead to the same page */
		return TENSOR_INVALID;
	}
	nucleus->equal = (need - above + nucleus->least - 1) / nucleus->least;
	nucleus->total = above + nucleus->equal * nucleus->least;
	return TENSOR_OK;
}

/* The first index at which the running sum of the nucleus passes `point`, which is below its total. */
static int64_t index_at(struct port *port, struct array weights, struct nucleus nucleus, uint64_t point)
{
	struct walk walk = walk_reading(port, weights.address);
	uint64_t passed = 0;

	for (uint64_t i = 0; i < weights.count; i++) {
		const uint8_t *source = element(&walk);
		uint32_t weight;

		if (source == NULL) {
			return TENSOR_ABORT;
		}
		memcpy(&weight, source, 4);
		if (weight < nucleus.least || (weight == nucleus.least && nucleus.equal == 0)) {
			continue;
		}
		nucleus.equal -= weight == nucleus.least;
		passed += weight;
		if (passed > point) {
			return (int64_t)i;
		}
	}
	return TENSOR_INVALID; /* only if two addresses of the array lead to the same page */
}

int64_t tensor_sample(struct port *port, uint64_t logits, uint64_t count, uint64_t temperature_bits, uint64_t top_p,
		      uint64_t random)
{
	const float temperature = float_of_bits(temperature_bits);
	const struct array array = {logits, count};
	struct nucleus nucleus;
	float largest = 0.0f;
	uint64_t total, need;
	int64_t status;

	STANDARD_FLOAT_MODE;
	if (!aligned(logits) || !within(count, TENSOR_MAX_ROWS) || !within(top_p, TOP_P_ONE) ||
	    !is_finite(temperature) || !(temperature > 0.0f)) {
		return TENSOR_INVALID;
	}
	status = largest_logit(port, array, &largest);
	if (status < 0) {
		return status;
	}
	if (!weigh(port, array, largest, temperature, &total)) {
		return TENSOR_ABORT;
	}
	need = (total * top_p + TOP_P_ONE - 1) / TOP_P_ONE; /* total <= 2^28 * 2^18: no overflow */
	status = find_nucleus(port, array, need, &nucleus);
	if (status < 0) {
		return status;
	}
	return index_at(port, array, nucleus, (uint64_t)(((unsigned __int128)random * nucleus.total) >> 64));
}
