/*
 * The arithmetic of the served model, as docs/arithmetic.md defines it. cffi parses this file as it stands: plain
 * declarations, no directives.
 *
 * Every operation reads and writes guest memory only, by virtual address and through a port, page by page; nothing of
 * what it read outlives the call. It works on `count` tokens at once, at neighbouring positions; what it computes for
 * one of them depends on no other. Nothing is written when an access is refused.
 *
 * A "matrix" is the f32 scales of its rows, padded to TENSOR_BLOCK bytes, then its int8 weights
 * [rows / 32][columns / 32][32 rows][32 columns], padded with zeros. An "activation" is a quantised vector for each
 * token: the f32 scales [count][2 planes], padded to TENSOR_BLOCK bytes, then the int8 features
 * [columns / 16][2 * count][16], padded to 32 columns with zeros, where row 2t is token t's coarse plane and row
 * 2t + 1 its fine one. "Sums" are the int32 products of both [rows / 4][2 * count][4], padded to 32 rows. Matrices and
 * activations begin at multiples of TENSOR_BLOCK, the rest at multiples of 4 (the rotation table: of 8). f32 parameters
 * are given as their bits.
 */

/* They bound the scratch memory of a call, and keep every int32 accumulation (127 * 128 * width) exact. */
enum tensor_limit {
	TENSOR_MAX_WIDTH = 16384,
	TENSOR_MAX_ROWS = 262144,
	TENSOR_MAX_TOKENS = 32768,
	TENSOR_MAX_HEAD_WIDTH = 512,
	TENSOR_MAX_COUNT = 256, /* tokens of one call */
	TENSOR_BLOCK = 1024,    /* bytes of 32 rows and 32 columns of weights: they never cross a page */
};

/* What an operation returns when it does not return a value; anything >= 0 is success. */
enum tensor_status {
	TENSOR_ABORT = -1,      /* the port was refused and has recorded the abort */
	TENSOR_INVALID = -2,    /* a size, range or alignment breaks a rule or limit above */
	TENSOR_NOT_FINITE = -3, /* the data holds or gives an infinity or a NaN */
	TENSOR_NO_MEMORY = -4,  /* the host has none */
};

/* vectors[count][columns] f32 = the rows of the matrix that tokens[count] u32 name. */
int64_t tensor_embed(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t tokens,
		     uint64_t count, uint64_t vectors);
/* angles[count][2][head_width / 2] f32: the sines, then the cosines of `position` and on; the table is the package's. */
int64_t tensor_angles(struct port *port, uint64_t table, uint64_t head_width, uint64_t position, uint64_t count,
		      uint64_t angles);
/* activation: RMSNorm(vector) * gain, quantised, of vectors[count][columns]. */
int64_t tensor_normalise(struct port *port, uint64_t vectors, uint64_t gain, uint64_t columns, uint64_t epsilon_bits,
			 uint64_t count, uint64_t activation);
/* sums = matrix times `features` (int8 rows, twice as many as tokens), exact. */
int64_t tensor_products(struct port *port, uint64_t matrix, uint64_t rows, uint64_t columns, uint64_t features,
			uint64_t feature_rows, uint64_t sums);
/*
 * What attention works on, from the products of `activation` with the query, key and value matrix, whose sums follow
 * one another: queries[count][heads][head_width] f32, turned, and for each token its keys, turned, and its values,
 * [count][2][kv_heads][head_width] f32, into the cache at its first token's place.
 */
int64_t tensor_rotate(struct port *port, uint64_t query, uint64_t key, uint64_t value, uint64_t activation,
		      uint64_t sums, uint64_t angles, uint64_t heads, uint64_t kv_heads, uint64_t head_width,
		      uint64_t count, uint64_t queries, uint64_t cache);
/*
 * output: activation of the attention of queries[count][heads][head_width], at `position` and on, over the cache
 * (from position 0), which holds those positions already.
 */
int64_t tensor_attend(struct port *port, uint64_t queries, uint64_t cache, uint64_t position, uint64_t count,
		      uint64_t heads, uint64_t kv_heads, uint64_t head_width, uint64_t output);
/* vectors[count][rows] f32 += the matrix times `activation`, of which these are the sums. */
int64_t tensor_add(struct port *port, uint64_t matrix, uint64_t activation, uint64_t sums, uint64_t rows,
		   uint64_t count, uint64_t vectors);
/* output: activation of SiLU(gate) * up, of the gate and the up matrix' sums, which follow one another. */
int64_t tensor_swiglu(struct port *port, uint64_t gate, uint64_t up, uint64_t activation, uint64_t sums, uint64_t rows,
		      uint64_t count, uint64_t output);
/* vectors[count][rows] f32 = the matrix times `activation`, of which these are the sums. */
int64_t tensor_linear(struct port *port, uint64_t matrix, uint64_t activation, uint64_t sums, uint64_t rows,
		      uint64_t count, uint64_t vectors);
/* The index of the largest logit, the lowest if there are several. */
int64_t tensor_argmax(struct port *port, uint64_t logits, uint64_t count);
/*
 * An index drawn with the 64 random bits: temperature first, then the nucleus of `top_p` / 65536 of the mass. The
 * logits are overwritten by their integer weights.
 */
int64_t tensor_sample(struct port *port, uint64_t logits, uint64_t count, uint64_t temperature_bits, uint64_t top_p,
		      uint64_t random);

/* Use the portable vectors even where the processor offers wider ones; the results are the same. */
void tensor_force_portable(bool force);
/* The vectors in use: "portable" or "avx2". */
const char *tensor_lanes_name(void);
