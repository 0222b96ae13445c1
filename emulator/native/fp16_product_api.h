/* Products of fp16 matrices: see fp16_product.h. cffi parses this file as it stands: plain declarations. */

/* Use the portable kernel even where the processor offers wider vectors; the results are the same. */
void fp16_force_portable(bool force);
/* Use the kernel at this place among those that the processor can run, the widest first. False: there is none. */
bool fp16_use(unsigned place);
/* The kernel in use: "portable", "avx2", "avx512", "neon". */
const char *fp16_product_name(void);
