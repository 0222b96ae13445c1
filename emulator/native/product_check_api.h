/*
 * How a kernel that trusts itself alone has matrix products computed elsewhere and finds out whether they are right, in
 * far less work than the products are (Freivalds' check, with the projection of the weights taken beforehand as in
 * Tramer and Boneh, "Slalom", 2019). For secret 64-bit numbers s of the rows of a matrix W, and sums y = W x:
 *
 *     sum over rows of s[row] y[row]  =  sum over columns of p[column] x[column],   p = the projection of W by s
 *
 * all modulo 2^64. Wrong sums agree with probability 2^-33 at most, for whoever does not know s: a sum is off by less
 * than 2^32, so that at least 33 bits of its s count. cffi parses this file as it stands.
 *
 * Layouts: weights int8 [rows/32][columns/32][32][32], features int8 [columns/16][count][16], sums int32
 * [rows/4][count][4], sizes padded to 32. In the staging areas the feature rows are cut into tiles of `tile` rows, one
 * after another, each laid out like that by itself. Addresses are virtual and go through the port; the operations
 * return TENSOR_OK (0), TENSOR_ABORT or TENSOR_INVALID.
 */

enum product_check_limit {
	CHECK_MAX_COUNT = 2048, /* feature rows of a product */
	CHECK_MAX_BYTES = 1 << 28, /* of features or sums: bounds the scratch memory of a call */
};

/* projection[columns] u64 = (or +=, with `add`) that of a matrix whose rows have the secrets from number `first` on. */
int64_t check_project(struct port *port, uint64_t weights, uint64_t rows, uint64_t columns, uint64_t key,
		      uint64_t first, uint64_t add, uint64_t projection);
/* Copies features into staging; expected[count] u64 = what the sums are to give. */
int64_t check_offer(struct port *port, uint64_t features, uint64_t columns, uint64_t count, uint64_t tile,
		    uint64_t projection, uint64_t staging, uint64_t expected);
/*
 * Copies sums out of staging: `results` has three words of each matrix, where its sums are staged, its rows, and where they
 * belong. 1 if the copies give the guest's expected[count], else 0.
 */
int64_t check_accept(struct port *port, const uint64_t *results, uint64_t products, uint64_t count, uint64_t tile,
		     uint64_t key, uint64_t expected);
