/* The inner loops with vectors of eight lanes. AVX2 alone: a fused multiply-add would round once instead of twice. */
#if defined(__x86_64__)

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define LANES_TABLE lanes_avx2
#define LANES_NAME "avx2"
#include "tensor_lanes_loops.h"
#pragma clang attribute pop

#else
typedef int avx2_is_of_another_architecture;
#endif
