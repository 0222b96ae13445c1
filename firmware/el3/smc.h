/* What a handler gets and gives. Arguments are a copy: nothing can change them after they were checked. */
#ifndef SMC_H
#define SMC_H

#include <stdint.h>

#include "flex_smc.h"

struct smc_args {
	uint64_t x1, x2, x3, x4, x5;
};

/* x0 and on; how many are the caller's is in the SMC table. */
struct smc_result {
	uint64_t x[6];
};

/* A failure, or a call whose only result is its status. */
static inline struct smc_result smc_status(int64_t status)
{
	return (struct smc_result){{(uint64_t)status}};
}

#endif
