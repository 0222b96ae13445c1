/* What the host's processor and system offer beyond the build's baseline. */
#ifndef PROCESSOR_H
#define PROCESSOR_H

#include <stdbool.h>

bool processor_has_avx2(void);
bool processor_has_avx2_f16c(void);   /* and conversion from fp16 */
bool processor_has_avx512(void);      /* F, DQ, BW and VL, and conversion from fp16 */
bool processor_has_vnni(void);        /* AVX-512 with its byte, word and neural network instructions */
bool processor_has_dot_product(void); /* AArch64's FEAT_DotProd */

#endif
