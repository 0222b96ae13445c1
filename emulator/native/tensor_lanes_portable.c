/* The inner loops for every processor that the build supports: two vectors of four lanes (SSE2, Advanced SIMD). */
#define LANES_TABLE lanes_portable
#define LANES_NAME "portable"
#include "tensor_lanes_loops.h"
