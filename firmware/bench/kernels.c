/*
 * Loops such as real programs spend their time in. Each checks its own result, so that a fast wrong answer is no answer.
 */
#include <stdint.h>

#define KIB 1024

enum { CRC_BYTES = 4 * KIB, SORT_COUNT = 1 * KIB, MATRIX = 32, COPY_WORDS = 32 * KIB, CHASE_NODES = 32 * KIB };

struct node {
	struct node *next;
	uint64_t padding[7]; /* a cache line */
};

static uint32_t crc_table[256];
static uint8_t crc_data[CRC_BYTES];
static uint32_t numbers[SORT_COUNT];
static int32_t left[MATRIX][MATRIX], right[MATRIX][MATRIX], product[MATRIX][MATRIX];
static uint64_t source[COPY_WORDS], target[COPY_WORDS];
static struct node nodes[CHASE_NODES];

uint64_t run_kernel(uint64_t kernel, uint64_t count);

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* CRC-32 of IEEE 802.3, a table look-up a byte. */
static uint64_t crc(uint64_t count)
{
	uint32_t first = 0, last = 0;

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++) {
			value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
		}
		crc_table[i] = value;
		crc_data[i] = (uint8_t)(i * 7);
	}
	for (uint64_t round = 0; round < count; round++) {
		last = ~0u;
		for (int i = 0; i < CRC_BYTES; i++) {
			last = crc_table[(last ^ crc_data[i]) & 0xff] ^ last >> 8;
		}
		first = round ? first : last;
	}
	return first != last;
}

static void sift_down(uint32_t *heap, uint32_t root, uint32_t end)
{
	uint32_t value = heap[root];

	for (;;) {
		uint32_t child = 2 * root + 1;

		if (child >= end) {
			break;
		}
		if (child + 1 < end && heap[child] < heap[child + 1]) {
			child++;
		}
		if (heap[child] <= value) {
			break;
		}
		heap[root] = heap[child];
		root = child;
	}
	heap[root] = value;
}

static uint64_t sort(uint64_t count)
{
	uint64_t random = 1;

	for (uint64_t round = 0; round < count; round++) {
		for (uint32_t i = 0; i < SORT_COUNT; i++) {
			numbers[i] = (uint32_t)next_random(&random);
		}
		for (uint32_t root = SORT_COUNT / 2; root-- > 0;) {
			sift_down(numbers, root, SORT_COUNT);
		}
		for (uint32_t end = SORT_COUNT - 1; end > 0; end--) {
			uint32_t largest = numbers[0];

			numbers[0] = numbers[end];
			numbers[end] = largest;
			sift_down(numbers, 0, end);
		}
		for (uint32_t i = 1; i < SORT_COUNT; i++) {
			if (numbers[i - 1] > numbers[i]) {
				return 1;
			}
		}
	}
	return 0;
}

static uint64_t matrix_product(uint64_t count)
{
	for (int row = 0; row < MATRIX; row++) {
		for (int column = 0; column < MATRIX; column++) {
			left[row][column] = row + 2 * column;
			right[row][column] = row == column; /* the identity: the product is the left matrix */
		}
	}
	for (uint64_t round = 0; round < count; round++) {
		for (int row = 0; row < MATRIX; row++) {
			for (int column = 0; column < MATRIX; column++) {
				int32_t sum = 0;

				for (int k = 0; k < MATRIX; k++) {
					sum += left[row][k] * right[k][column];
				}
				product[row][column] = sum;
			}
		}
		if (product[round % MATRIX][3] != left[round % MATRIX][3]) {
			return 1;
		}
	}
	return 0;
}

static uint64_t copy(uint64_t count)
{
	for (uint64_t round = 0; round < count; round++) {
		source[round % COPY_WORDS] = round + 1;
		for (int i = 0; i < COPY_WORDS; i += 8) {
			for (int word = 0; word < 8; word++) {
				target[i + word] = source[i + word];
			}
		}
		if (target[round % COPY_WORDS] != round + 1) {
			return 1;
		}
	}
	return 0;
}

/* One random cycle through 2 MiB: every step is another page more often than not. */
static uint64_t chase(uint64_t count)
{
	static uint32_t order[CHASE_NODES];
	uint64_t random = 1;
	struct node *node = &nodes[0];

	for (uint32_t i = 0; i < CHASE_NODES; i++) {
		order[i] = i;
	}
	for (uint32_t i = CHASE_NODES - 1; i > 0; i--) {
		uint32_t other = (uint32_t)(next_random(&random) % i), swapped = order[i];

		order[i] = order[other];
		order[other] = swapped;
	}
	for (uint32_t i = 0; i < CHASE_NODES; i++) {
		nodes[order[i]].next = &nodes[order[(i + 1) % CHASE_NODES]];
	}
	for (uint64_t step = 0; step < count * CHASE_NODES; step++) {
		node = node->next;
	}
	return node != &nodes[0];
}

uint64_t run_kernel(uint64_t kernel, uint64_t count)
{
	static uint64_t (*const kernels[])(uint64_t count) = {crc, sort, matrix_product, copy, chase};

	return kernels[kernel](count);
}
