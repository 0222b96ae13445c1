/*
 * The arithmetic of the served model, as docs/arithmetic.md defines it. cffi parses this file as it stands: plain
 * declarations, no directives.
 *
 * Every operation reads and writes guest memory only, by virtual address and through a port, page by page; nothing of
 * what it read outlives the call. A "quantised vector" of n values is the f32 scales of its two planes followed by the
 * n int8 values of each; a "matrix" is the f32 scales of all its rows followed by the int8 rows. Addresses are
 * multiples of 4 (the rotation table's: of 8). f32 parameters are given as their bits.
 */

/* They bound the scratch memory of a call, and keep every int32 accumulation (127 * 128 * width) exact. */
enum tensor_limit {
	TENSOR_MAX_WIDTH = 16384,
	TENSOR_MAX_ROWS = 262144,
	TENSOR_MAX_TOKENS = 32768,
	TENSOR_MAX_HEAD_WIDTH = 512,
};

/* What an operation returns when it does not return a value; anything >= 0 is success. */
enum tensor_status {
	TENSOR_ABORT = -1,      /* the port was refused and has recorded the abort */
	TENSOR_INVALID = -2,    /* a size, range or alignment breaks a rule or limit above */
	TENSOR_NOT_FINITE = -3, /* the data holds or gives an infinity or a NaN */
};

/* output[columns] f32 = row `row` of the matrix. */
int64_t tensor_embed(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t row,
		     uint64_t output);
/* output: quantised vector of RMSNorm(vector) * gain. */
int64_t tensor_normalise(struct port *port, uint64_t vector, uint64_t gain, uint64_t count, uint64_t epsilon_bits,
			 uint64_t output);
/* output: quantised vector. */
int64_t tensor_quantise(struct port *port, uint64_t vector, uint64_t count, uint64_t output);
/* output[first .. first + count) f32 = those rows of the matrix times the quantised vector `input`. */
int64_t tensor_linear(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t first,
		      uint64_t count, uint64_t input, uint64_t output);
/* Turns each head of the vector, in place, to `position`; the table is head_width / 2 steps in 2^-64 turns. */
int64_t tensor_rotate(struct port *port, uint64_t table, uint64_t vector, uint64_t heads, uint64_t head_width,
		      uint64_t position);
/*
 * Heads [first, first + count) of one token over `tokens` cached tokens. Key and value heads of token t begin at
 * keys + t * stride and values + t * stride; `group` query heads share one of them.
 */
int64_t tensor_attend(struct port *port, uint64_t query, uint64_t keys, uint64_t values, uint64_t stride,
		      uint64_t tokens, uint64_t first, uint64_t count, uint64_t group, uint64_t head_width,
		      uint64_t output);
/* output: quantised vector of SiLU(gate) * up. */
int64_t tensor_swiglu(struct port *port, uint64_t gate, uint64_t up, uint64_t count, uint64_t output);
/* vector += addend. */
int64_t tensor_add(struct port *port, uint64_t vector, uint64_t addend, uint64_t count);
/* The index of the largest logit, the lowest if there are several. */
int64_t tensor_argmax(struct port *port, uint64_t logits, uint64_t count);
/*
 * An index drawn with the 64 random bits: temperature first, then the nucleus of `top_p` / 65536 of the mass. The
 * logits are overwritten by their integer weights.
 */
int64_t tensor_sample(struct port *port, uint64_t logits, uint64_t count, uint64_t temperature_bits, uint64_t top_p,
		      uint64_t random);

/* Use the portable dot product even where the processor offers a wider one; the results are the same. */
void tensor_force_portable(bool force);
/* The dot product in use: "portable", "avx2", "neon". */
const char *tensor_dot_name(void);
