/*
 * The driver context: the normal world's NPU driver in a third context at NS-EL1, behind a stage-2 table that holds its
 * own memory and, while the NPU is secure, the NPU's registers. The secure world calls it; it returns, or is stopped.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include "smc.h"

struct smc_result driver_call(const struct smc_args *args);
struct smc_result driver_return(const struct smc_args *args);
struct smc_result driver_ready(const struct smc_args *args);
/* Stage 2 has refused an access of the driver, which is running: DRIVER_CALL fails, the driver is as after its boot. */
void driver_fault(void);
/* The driver, which is running, has had its time: DRIVER_CALL fails, as after a fault. False: it has not. */
int driver_timed_out(void);
/* Sets its deadline anew. */
void driver_watch(void);
/* It is interrupted, its time stands still; it goes on. */
void driver_pause(void);
void driver_go_on(void);

#endif
