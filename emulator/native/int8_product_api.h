/* Products of int8 matrices: see int8_product.h. cffi parses this file as it stands: plain declarations. */

/* Use the portable kernel even where the processor offers wider vectors; the results are the same. */
void int8_force_portable(bool force);
/* Use the kernel at this place among those that the processor can run, the widest first. False: there is none. */
bool int8_use(unsigned place);
/* The kernel in use: "portable", "avx2", "avx512-vnni", "neon", "neon-dot". */
const char *int8_product_name(void);
